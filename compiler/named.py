"""Named tuples whose fields are names of a spec."""

from __future__ import annotations

import keyword
from collections import namedtuple
from collections.abc import Callable
from functools import lru_cache
from typing import Any


def field_name(name: str) -> str:
    """A name as a field: `x'` is `x`, and Python's keywords get an underscore behind."""
    name = name.rstrip("'")
    return f"{name}_" if keyword.iskeyword(name) else name


@lru_cache(maxsize=512)
def named_tuple(kind: str, names: tuple[str, ...]) -> Callable[..., Any]:
    """The tuple type with some fields; equal names give the same type."""
    fields = [field_name(name) for name in names]
    base: Any = namedtuple(kind, fields)  # type: ignore[misc]

    def reduce(self: tuple[Any, ...]) -> tuple[Any, ...]:
        # The type is made at run time, so an instance is rebuilt from its names.
        return _rebuild, (kind, names, tuple(self))

    type.__setattr__(base, "__reduce__", reduce)
    made: Callable[..., Any] = base
    return made


def _rebuild(kind: str, names: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    return named_tuple(kind, names)(*values)
