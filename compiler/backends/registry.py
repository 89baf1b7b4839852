"""Which backends there are, and which one runs a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...operators.call import Call, Result
from ...operators.graph import OperatorGraph
from ...operators.reference import run as run_reference

Backend = Callable[[Call], Result]

BACKENDS: Final[dict[str, Backend]] = {"reference": run_reference}


def choose(graph: OperatorGraph, name: str) -> tuple[str, Backend]:
    """The backend that a user asked for; `auto` is the fastest that runs the graph.

    Raises:
        ValueError: when there is no backend of that name.
    """
    if name == "auto":
        name = "reference"
    if name not in BACKENDS:
        known = ", ".join(["auto", *BACKENDS])
        raise ValueError(f"backend: expected one of {known}, got {name!r}")
    return name, BACKENDS[name]
