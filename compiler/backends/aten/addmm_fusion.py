"""Fuse products into the add that uses them: matmul as `addmm`, multiply as `addcmul`.

A subtracted product is fused too: `add(a, negate(multiply(b, c)))` is one call of `addcmul`.
"""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.compiler.ir.dataflow import Operand, Value
from rnnc.compiler.schedule.plan import Phase, Plan


@dataclass(frozen=True, slots=True)
class AddTerms:
    """Operands of an add, grouped by the ATen call that adds or subtracts them."""

    addends: tuple[Operand, ...]
    subtrahends: tuple[Operand, ...]
    matmuls: tuple[Value, ...]
    added_products: tuple[Value, ...]
    subtracted_products: tuple[Value, ...]


def classify_terms(value: Value, values: tuple[Value, ...], fused: frozenset[int]) -> AddTerms:
    """Group the operands of an add; `fused` holds the values that their user computes."""
    plain: list[Operand] = []
    minus: list[Operand] = []
    matmuls: list[Value] = []
    products: list[Value] = []
    minus_products: list[Value] = []
    for read in value.operands:
        source = values[read.value]
        if read.value not in fused:
            plain.append(read)
        elif source.operation == "matmul":
            matmuls.append(source)
        elif source.operation == "multiply":
            products.append(source)
        elif source.operands[0].value in fused:
            minus_products.append(values[source.operands[0].value])
        else:
            minus.append(source.operands[0])
    return AddTerms(
        tuple(plain), tuple(minus), tuple(matmuls), tuple(products), tuple(minus_products)
    )


def find_fused_operands(plan: Plan, phase: Phase) -> frozenset[int]:
    """Return the ids of values that are computed by the add that is their only user."""
    values, flow = plan.dataflow.values, plan.dataflow
    inside = frozenset(phase.values)
    wanted = {read.value for read in flow.results}
    wanted |= {gradient.value for gradient in flow.gradients}

    def is_for(reader: Value, read: Operand) -> bool:
        source = values[read.value]
        return (
            not read.delay
            and read.value in inside
            and read.value not in wanted
            and flow.has_one_use(read.value, reader)
            and source.shape == reader.shape
            and source.rate == "step"
        )

    found: set[int] = set()
    for number in phase.values:
        value = values[number]
        if value.operation != "add" or value.rate != "step":
            continue
        negative = [r for r in value.operands if values[r.value].operation == "negate"]
        for read in value.operands:
            source = values[read.value]
            if not is_for(value, read):
                continue
            if source.operation == "matmul" and len(values[source.operands[0].value].shape) == 2:
                found.add(read.value)
            if _is_binary_multiply(source):
                found.add(read.value)
            # Something must be there that the rest is subtracted from.
            if source.operation == "negate" and len(negative) < len(value.operands):
                found.add(read.value)
                inner = source.operands[0]
                if is_for(source, inner) and _is_binary_multiply(values[inner.value]):
                    found.add(inner.value)
    return frozenset(found)


def _is_binary_multiply(value: Value) -> bool:
    return value.operation == "multiply" and len(value.operands) == 2
