"""Terms and factors that do not depend on a cycle leave it.

    in a cycle: add(a, e1, e2)            -> add(a, e), e = add(e1, e2) outside
    in a cycle: multiply(a, e1, e2)       -> multiply(a, e), e = multiply(e1, e2) outside

Side condition: two operands at least are outside of the value's own cycle. The order of the
operations changes: rounding.
"""

from __future__ import annotations

from rnnc.compiler.ir.builder import Draft
from rnnc.compiler.ir.dataflow import Flow, Read


def hoist(flow: Flow) -> Flow:
    """The flow with sums and products split into what a cycle needs and the rest."""
    draft = Draft.of(flow)
    for value in flow.values:
        if value.operation not in {"add", "multiply"} or value.number not in flow.cyclic:
            continue
        own = flow.component_of[value.number]
        inner: list[Read] = []
        outer: list[Read] = []
        for read in value.operands:
            (inner if flow.component_of[read.value] == own else outer).append(read)
        if len(outer) < 2 or not inner:
            continue
        made = draft.add(value.operation, *outer, adjoint=value.adjoint, origin=value.origin)
        draft.values[value.number].operands = (*inner, made)
    return draft.finish()
