"""Plans: the contents of loops, the place of gradients, stable texts, costs, planning time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rnnc.compiler.ir.verifier import verify_dataflow
from rnnc.compiler.pipeline import PASS_NAMES, build_plan
from rnnc.compiler.request import MemoryPolicy, PlanRequest, training_request
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.sources.zoo import zoo_names, zoo_source
from support.generator import random_spec

GOLDEN = Path(__file__).parents[2] / "golden"
SMALL = {
    "lstm": {"hidden": 16, "notes": 8},
    "gru": {"hidden": 16, "notes": 8},
    "dts_rnn": {"hidden": 16, "notes": 8},
    "pointer_sentinel_lstm": {"layers": 1, "hidden": 8, "window": 5, "vocab": 11},
}


def graph_of(name: str, **sizes: int) -> OperatorGraph:
    graph = analyze(zoo_source(name), parameters=sizes).graph
    assert graph is not None
    return graph


def plan_of(name: str, **sizes: int) -> Plan:
    graph = graph_of(name, **sizes)
    return build_plan(graph, training_request(graph))


def count_matmuls(plan: Plan, phase: Phase) -> int:
    return sum(plan.dataflow.values[n].operation in {"matmul", "lookup"} for n in phase.values)


def loop_phases(plan: Plan) -> list[Phase]:
    return [phase for phase in plan.phases if phase.kind == "loop"]


@pytest.mark.parametrize("name", SMALL)
def test_the_plan_of_a_known_cell_is_as_it_was_read(name: str) -> None:
    text = plan_of(name, **SMALL[name]).to_text()
    assert text == (GOLDEN / f"plan_{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "dependent"), [("lstm", 1), ("gru", 1), ("dts_rnn", 2), ("rnn", 1)]
)
def test_a_loop_holds_the_products_that_it_must_and_no_other(name: str, dependent: int) -> None:
    plan = plan_of(name)
    assert [count_matmuls(plan, phase) for phase in loop_phases(plan)] == [dependent, dependent]
    states = {v.id for v in plan.dataflow.values if v.operation == "state"}
    forward = loop_phases(plan)[0]
    for value_id in forward.values:
        value = plan.dataflow.values[value_id]
        if value.operation == "matmul":
            assert value.operands[1].value in states | set(forward.values)


@pytest.mark.parametrize("name", ["lstm", "gru", "dts_rnn"])
def test_every_weight_gradient_is_one_product_after_the_loop(name: str) -> None:
    plan = plan_of(name)
    last = max(phase.id for phase in loop_phases(plan))
    inside = {n for phase in loop_phases(plan) for n in phase.values}
    sums = [v for v in plan.dataflow.values if v.operation == "outer_sum"]
    assert not any(v.id in inside for v in sums)
    recurrent = [v for v in sums if any(r.delay for r in v.operands)]
    assert recurrent
    assert all(plan.phase_of[v.id] > last for v in recurrent)
    # No gradient of a matrix is a sum of several products.
    assert not any(v.operation == "add" and len(v.shape) > 1 for v in plan.dataflow.values)


@pytest.mark.parametrize("name", ["mingru", "qrnn"])
def test_linear_recurrences_are_scans_in_both_directions(name: str) -> None:
    plan = plan_of(name)
    assert not loop_phases(plan)
    scans = [phase for phase in plan.phases if phase.kind == "scan"]
    assert {phase.direction for phase in scans} == {1, -1}


def test_a_recurrence_that_is_not_affine_stays_a_loop() -> None:
    text = "input x: real[3]\nstate h: real[3]\nh' = h * h + x\nx' = |> h'\n"
    graph = analyze(Source(text)).graph
    assert graph is not None
    plan = build_plan(graph, training_request(graph))
    assert next(p.kind for p in plan.phases if p.kind in {"scan", "loop"}) == "loop"


@pytest.mark.parametrize("name", zoo_names())
def test_planning_takes_under_a_tenth_of_a_second(name: str) -> None:
    graph = graph_of(name)
    seconds: list[float] = []
    for _ in range(3):
        start = time.process_time()
        build_plan(graph, training_request(graph))
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.1


def test_a_plan_is_the_same_in_every_run() -> None:
    for seed in range(8):
        spec = random_spec(seed)
        texts = []
        for _ in range(2):
            graph = analyze(Source(spec.text), parameters=spec.sizes).graph
            assert graph is not None
            texts.append(build_plan(graph, training_request(graph, inputs=True)).to_text())
        assert texts[0] == texts[1]


@pytest.mark.parametrize("sink", [False, True])
def test_every_value_is_computed_once_and_after_its_operands(sink: bool) -> None:
    for seed in range(25):
        spec = random_spec(seed)
        graph = analyze(Source(spec.text), parameters=spec.sizes).graph
        assert graph is not None
        plan = build_plan(
            graph, training_request(graph, inputs=True, carry=True, sink_elementwise=sink)
        )
        verify_dataflow(plan.dataflow)
        order = [n for phase in plan.phases for n in phase.values]
        assert len(order) == len(set(order))
        position = {n: i for i, n in enumerate(order)}
        for value in plan.dataflow.values:
            for operand in value.operands:
                if value.id not in position or operand.value not in position:
                    continue
                same = plan.phase_of[value.id] == plan.phase_of[operand.value]
                if not operand.delay or not same:
                    assert position[operand.value] < position[value.id], value


@pytest.mark.parametrize("memory", ["save", "recompute"])
@pytest.mark.parametrize("value", ["sin(g')", "softplus(g')", "g' ⊙ g' ⊙ g'"])
def test_a_loop_uses_derivatives_computed_before_it(value: str, memory: MemoryPolicy) -> None:
    text = f"""
input x: real[2]
state g, c: real[3]
g' = tanh(W g + U x)
c' = {value}
output y: real[3]
y = V x
"""
    graph = analyze(Source(text)).graph
    assert graph is not None
    plan = build_plan(graph, training_request(graph, memory=memory, sink_elementwise=True))
    (loop,) = [phase for phase in loop_phases(plan) if phase.adjoint]
    seed = next(v.id for v in plan.dataflow.values if v.attributes == ("history", "c"))
    # The cotangent of `c` is multiplied by the derivative inside.
    assert any(r.value == seed for n in loop.values for r in plan.dataflow.values[n].operands)


def test_values_that_differ_share_no_region() -> None:
    for seed in range(25):
        spec = random_spec(seed)
        graph = analyze(Source(spec.text), parameters=spec.sizes).graph
        assert graph is not None
        plan = build_plan(graph, training_request(graph))
        owners: dict[tuple[int, int], int] = {}
        for value in plan.dataflow.values:
            region = plan.regions[value.id]
            if region is None or value.operation in {"slice", "state", "concatenate"}:
                continue
            for entry in range(region.offset, region.offset + value.size):
                assert owners.setdefault((region.buffer, entry), value.id) == value.id


def test_flops_are_those_of_the_matrices() -> None:
    plan = plan_of("lstm", hidden=16, notes=8)
    forward = [plan.phase_cost(p).matmul_flops for p in plan.forward_phases]
    assert sum(forward) == 2 * (4 * 16 * (16 + 8) + 8 * 16)
    backward = [plan.phase_cost(p).matmul_flops for p in plan.backward_phases]
    # Twice the forward pass, less the gradient of the input, which is not requested.
    assert sum(backward) == 2 * sum(forward) - 2 * 4 * 16 * 8


def test_an_evaluation_has_no_backward_pass_and_no_chance() -> None:
    graph = graph_of("awd_lstm")
    plan = build_plan(graph, PlanRequest(training=False))
    assert not plan.backward_phases
    assert not any(v.operation == "mask" for v in plan.dataflow.values)


def test_an_unknown_pass_name_is_rejected() -> None:
    graph = graph_of("rnn")
    with pytest.raises(ValueError, match="abacus"):
        build_plan(graph, training_request(graph, without=["abacus"]))
    assert "hoist" in PASS_NAMES


def test_rematerialization_keeps_states_alone() -> None:
    graph = graph_of("lstm")
    plan = build_plan(graph, training_request(graph, memory="recompute"))
    operations = {
        plan.dataflow.values[n].operation
        for n in plan.residuals
        if plan.dataflow.values[n].rate == "step"
    }
    assert operations <= {"state", "input", "mask"}
