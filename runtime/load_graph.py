"""Load the operator graph of a FILE argument, or raise its diagnostics."""

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
    """Read and analyze a spec; raise RnnError with every diagnostic if it has errors."""
    return load_graph_with_source(file, model, parameters)[0]


def load_graph_with_source(
    file: str, model: str | None, parameters: Mapping[str, int | float]
) -> tuple[OperatorGraph, Source]:
    """Return the graph and its source text; raise RnnError as `load_graph` does."""
    from rnnc.operators.analyze import analyze

    source = read_spec(file)
    return analyze(source, model=model, parameters=parameters).require_graph(), source
