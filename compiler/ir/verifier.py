"""The verifier: invariants of the IR that every pass must leave intact."""

from __future__ import annotations

from .dataflow import BOUNDARY_VALUE_OPS, Dataflow, Rate, Value
from .ops import ALL_OPS, SOURCE_OPS, infer_type


def verify_dataflow(dataflow: Dataflow) -> None:
    """Check ids, operations, types, order, and the delays at which operands are used.

    Raises:
        AssertionError: when an invariant is broken, which is a bug of the pass that ran last.
    """
    for value_id, value in enumerate(dataflow.values):
        assert value.id == value_id, f"{value} is not number {value_id}"
        assert value.operation in ALL_OPS, f"unknown operation: {value}"
        _check_operands(dataflow, value)
        if value.operation in SOURCE_OPS:
            continue
        assert value.operands, f"no operands: {value}"
        sources = [dataflow.values[operand.value] for operand in value.operands]
        types = [(source.shape, source.rate) for source in sources]
        inferred = infer_type(value.operation, value.attributes, types)
        assert inferred == (value.shape, value.rate), f"{value} is {inferred}"
        _check_reduction(value, {rate for _, rate in types})
    for component in dataflow.components:
        _check_cycle(dataflow, component)


def _check_operands(dataflow: Dataflow, value: Value) -> None:
    for operand in value.operands:
        source = dataflow.values[operand.value]
        assert value.adjoint or not source.adjoint, f"forward reads adjoint: {value}"
        assert operand.delay or source.id < value.id, f"not yet computed: {value}"
        if operand.delay:
            assert source.rate == "step", f"a value of the call has no other time: {value}"
            allowed = value.adjoint or source.operation in BOUNDARY_VALUE_OPS
            assert allowed, f"only states and inputs are read at other times: {value}"


def _check_reduction(value: Value, rates: set[Rate]) -> None:
    # A factor of rate `call` beside one of rate `step` would count once for each step and row.
    if value.operation in {"outer_sum", "indexed_sum"}:
        assert len(rates) == 1, f"a sum over rows that not all factors have: {value}"
    if value.operation == "total":
        assert rates != {"call"}, f"a sum over rows that there are not: {value}"


def _check_cycle(dataflow: Dataflow, component: tuple[int, ...]) -> None:
    members = set(component)
    directions = {
        operand.delay > 0
        for value_id in component
        for operand in dataflow.values[value_id].operands
        if operand.value in members and operand.delay
    }
    assert len(directions) < 2, f"past and future mixed in {component}"
