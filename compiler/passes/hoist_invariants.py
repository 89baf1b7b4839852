"""Terms and factors that do not depend on a cycle leave it.

    in a cycle: add(a, e1, e2)            -> add(a, e), e = add(e1, e2) outside
    in a cycle: multiply(a, e1, e2)       -> multiply(a, e), e = multiply(e1, e2) outside

Side condition: two operands at least are outside of the value's own cycle. The order of the
operations changes: rounding.
"""

from __future__ import annotations

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Operand


def hoist_invariants(dataflow: Dataflow) -> Dataflow:
    """The flow with sums and products split into what a cycle needs and the rest."""
    draft = Builder.from_dataflow(dataflow)
    for value in dataflow.values:
        if value.operation not in {"add", "multiply"} or value.id not in dataflow.cyclic_values:
            continue
        own = dataflow.component_of[value.id]
        inner: list[Operand] = []
        outer: list[Operand] = []
        for read in value.operands:
            (inner if dataflow.component_of[read.value] == own else outer).append(read)
        if len(outer) < 2 or not inner:
            continue
        made = draft.create(value.operation, *outer, adjoint=value.adjoint, origin=value.origin)
        draft.values[value.id].operands = (*inner, made)
    return draft.build()
