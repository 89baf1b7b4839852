"""The operator graph of a FILE argument, or the diagnostics that say why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rnnc.operators.sources.spec_file import read_spec

if TYPE_CHECKING:
    from rnnc.grammar.source import Source
    from rnnc.operators.graph.operator_graph import OperatorGraph


def analysed(file: str, model: str | None, parameters: Mapping[str, int | float]) -> OperatorGraph:
    """Read and analyse a spec; raises RnnError with every diagnostic when it is at fault."""
    return analysed_with_source(file, model, parameters)[0]


def analysed_with_source(
    file: str, model: str | None, parameters: Mapping[str, int | float]
) -> tuple[OperatorGraph, Source]:
    """The graph and the text that it was built from; raises RnnError as `analysed` does."""
    from rnnc.operators.analyze import analyse

    source = read_spec(file)
    return analyse(source, model=model, parameters=parameters).require(), source
