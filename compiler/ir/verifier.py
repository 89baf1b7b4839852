"""What must hold of every flow, checked after every pass."""

from __future__ import annotations

from .dataflow import BOUNDARY_VALUE_OPS, Dataflow, Rate, Value
from .ops import ALL_OPS, SOURCE_OPS, infer_type


def verify_dataflow(dataflow: Dataflow) -> None:
    """Check a flow: shapes, order, who may read what, and when.

    Raises:
        AssertionError: when it is broken, which is a bug of the pass that made it.
    """
    for number, value in enumerate(dataflow.values):
        assert value.id == number, f"{value} is not number {number}"
        assert value.operation in ALL_OPS, f"unknown operation: {value}"
        _check_operands(dataflow, value)
        if value.operation in SOURCE_OPS:
            continue
        assert value.operands, f"no operands: {value}"
        kinds = [
            (dataflow.values[r.value].shape, dataflow.values[r.value].rate) for r in value.operands
        ]
        found = infer_type(value.operation, value.attributes, kinds)
        assert found == (value.shape, value.rate), f"{value} is {found}"
        _check_reduction(value, {rate for _, rate in kinds})
    for component in dataflow.components:
        _check_cycle(dataflow, component)


def _check_operands(flow: Dataflow, value: Value) -> None:
    for read in value.operands:
        source = flow.values[read.value]
        assert value.adjoint or not source.adjoint, f"forward reads adjoint: {value}"
        assert read.delay or source.id < value.id, f"not yet computed: {value}"
        if read.delay:
            assert source.rate == "step", f"a value of the call has no other time: {value}"
            allowed = value.adjoint or source.operation in BOUNDARY_VALUE_OPS
            assert allowed, f"only states and inputs are read at other times: {value}"


def _check_reduction(value: Value, rates: set[Rate]) -> None:
    """Factors agree on what they are summed over: one alone would count for each of the rows."""
    if value.operation in {"outer_sum", "indexed_sum"}:
        assert len(rates) == 1, f"a sum over rows that not all factors have: {value}"
    if value.operation == "total":
        assert rates != {"call"}, f"a sum over rows that there are not: {value}"


def _check_cycle(flow: Dataflow, component: tuple[int, ...]) -> None:
    inside = set(component)
    signs = {
        read.delay > 0
        for number in component
        for read in flow.values[number].operands
        if read.value in inside and read.delay
    }
    assert len(signs) < 2, f"past and future mixed in {component}"
