"""Which products a sum computes on the way: by `addmm`, or `addcmul` for two factors."""

from __future__ import annotations

from ...plan import Phase, Plan


def absorbed(plan: Plan, phase: Phase) -> frozenset[int]:
    """The products of a phase that the sum which alone reads them computes."""
    values, flow = plan.flow.values, plan.flow
    inside = frozenset(phase.values)
    wanted = {read.value for read in flow.results}
    wanted |= {gradient.value for gradient in flow.gradients}
    found: set[int] = set()
    for number in phase.values:
        value = values[number]
        if value.operation != "add" or value.rate != "step":
            continue
        for read in value.operands:
            source = values[read.value]
            if (
                read.delay
                or read.value not in inside
                or read.value in wanted
                or flow.readers[read.value] != (number,)
                or sum(r.value == read.value for r in value.operands) > 1
                or source.shape != value.shape
                or source.rate != "step"
            ):
                continue
            if source.operation == "matmul" and len(values[source.operands[0].value].shape) == 2:
                found.add(read.value)
            if source.operation == "multiply" and len(source.operands) == 2:
                found.add(read.value)
    return frozenset(found)
