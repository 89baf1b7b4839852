"""All that is needed to build a model again, without any other file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Text of a spec and of the modules that it uses, the model's name, and its parameters."""

    text: str
    name: str
    modules: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    model: str | None = None
    parameters: Mapping[str, int | float] = field(default_factory=lambda: MappingProxyType({}))
