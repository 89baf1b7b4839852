"""The operator graph of a FILE argument, or the diagnostics that say why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rnnc.operators.sources.spec_file import read_spec

if TYPE_CHECKING:
    from rnnc.grammar.source import Source
    from rnnc.operators.graph.operator_graph import OperatorGraph


def load_graph(
    file: str, model: str | None, parameters: Mapping[str, int | float]
) -> OperatorGraph:
    """Read and analyse a spec; raises RnnError with every diagnostic when it is at fault."""
    return load_graph_with_source(file, model, parameters)[0]


def load_graph_with_source(
    file: str, model: str | None, parameters: Mapping[str, int | float]
) -> tuple[OperatorGraph, Source]:
    """The graph and the text that it was built from; raises RnnError as `analysed` does."""
    from rnnc.operators.analyze import analyze

    source = read_spec(file)
    return analyze(source, model=model, parameters=parameters).require_graph(), source
