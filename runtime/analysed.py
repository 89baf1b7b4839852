"""The operator graph of a FILE argument, or the diagnostics that say why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..operators.reading import read_spec

if TYPE_CHECKING:
    from ..operators.graph import OperatorGraph


def analysed(file: str, model: str | None, parameters: Mapping[str, int | float]) -> OperatorGraph:
    """Read and analyse a spec; raises RnnError with every diagnostic when it is at fault."""
    from ..operators.analyse import analyse

    return analyse(read_spec(file), model=model, parameters=parameters).require()
