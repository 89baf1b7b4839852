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
    addends: list[Operand] = []
    subtrahends: list[Operand] = []
    matmuls: list[Value] = []
    added_products: list[Value] = []
    subtracted_products: list[Value] = []
    for operand in value.operands:
        source = values[operand.value]
        if operand.value not in fused:
            addends.append(operand)
        elif source.operation == "matmul":
            matmuls.append(source)
        elif source.operation == "multiply":
            added_products.append(source)
        elif source.operands[0].value in fused:
            subtracted_products.append(values[source.operands[0].value])
        else:
            subtrahends.append(source.operands[0])
    return AddTerms(
        tuple(addends),
        tuple(subtrahends),
        tuple(matmuls),
        tuple(added_products),
        tuple(subtracted_products),
    )


def find_fused_operands(plan: Plan, phase: Phase) -> frozenset[int]:
    """Return the ids of values that are computed by the add that is their only user."""
    values, dataflow = plan.dataflow.values, plan.dataflow
    members = frozenset(phase.values)
    result_ids = {operand.value for operand in dataflow.results}
    result_ids |= {gradient.value for gradient in dataflow.gradients}

    def can_fuse(user: Value, operand: Operand) -> bool:
        source = values[operand.value]
        return (
            not operand.delay
            and operand.value in members
            and operand.value not in result_ids
            and dataflow.has_one_use(operand.value, user)
            and source.shape == user.shape
            and source.rate == "step"
        )

    fused: set[int] = set()
    for value_id in phase.values:
        value = values[value_id]
        if value.operation != "add" or value.rate != "step":
            continue
        negated = [r for r in value.operands if values[r.value].operation == "negate"]
        for operand in value.operands:
            source = values[operand.value]
            if not can_fuse(value, operand):
                continue
            if source.operation == "matmul" and len(values[source.operands[0].value].shape) == 2:
                fused.add(operand.value)
            if _is_binary_multiply(source):
                fused.add(operand.value)
            # At least one operand must remain to subtract from.
            if source.operation == "negate" and len(negated) < len(value.operands):
                fused.add(operand.value)
                product = source.operands[0]
                if can_fuse(source, product) and _is_binary_multiply(values[product.value]):
                    fused.add(product.value)
    return frozenset(fused)


def _is_binary_multiply(value: Value) -> bool:
    return value.operation == "multiply" and len(value.operands) == 2
