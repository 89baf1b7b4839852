"""The compiler's work is linear in the model's size, measured in executed lines."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from rnnc.compiler.backends.backend import Options
from rnnc.compiler.backends.cpu.specialize.compiled_program import compile_program
from rnnc.compiler.backends.registry import BACKENDS
from rnnc.compiler.pipeline import build_dataflow, build_plan
from rnnc.compiler.request import training_request
from rnnc.compiler.schedule.explain import describe, explain
from rnnc.operators.analysis.summary import summarize
from rnnc.operators.analyze import analyze
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.sources.zoo import zoo_source
from support.line_counts import count_lines, superlinear_functions


def adjoint(graph: OperatorGraph) -> str:
    return build_dataflow(graph, training_request(graph)).to_text(adjoint=True)


def planned(graph: OperatorGraph) -> str:
    plan = build_plan(graph, training_request(graph))
    return plan.to_text() + "\n".join(describe(explain(plan)))


def written_in_c(graph: OperatorGraph) -> str:
    request = replace(training_request(graph), sink_elementwise=True)
    return compile_program(graph, request, double=False, isa="avx2").source()


def written_in_triton(graph: OperatorGraph) -> str:
    return str(BACKENDS["cuda"](graph, Options("save", frozenset())).code())  # type: ignore[attr-defined]


STAGES: dict[str, Callable[[OperatorGraph], object]] = {
    "inspect": summarize,
    "graph": lambda graph: graph.to_text(),
    "adjoint": adjoint,
    "plan": planned,
    "cpu": written_in_c,
    "cuda": written_in_triton,
}


def graph_of(name: str, layers: int) -> OperatorGraph:
    return analyze(zoo_source(name), parameters={"layers": layers, "hidden": 3}).require_graph()


@pytest.mark.parametrize("stage", ["inspect", "graph", "adjoint", "plan"])
def test_a_transition_deeper_than_the_stack_is_planned(stage: str) -> None:
    assert sys.getrecursionlimit() < 3 * 400
    STAGES[stage](graph_of("dot_rnn", 400))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", ["srnn", "dts_rnn", "dot_rnn", "birnn"])
def test_each_stage_grows_as_the_model_does(name: str, stage: str) -> None:
    run = STAGES[stage]
    graphs = [graph_of(name, layers) for layers in (2, 12, 24)]
    # The first run includes work that a process does once.
    _, small, large = (count_lines(lambda g=g: run(g)) for g in graphs)  # type: ignore[misc]
    assert large.total() < 2.3 * small.total()
    assert superlinear_functions(small, large, factor=2.6) == {}
