"""Explain a plan to people: phases, work, hoisted matmuls, fused operations, residuals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from rnnc.compiler.ir.dataflow import Dataflow, Value
from rnnc.compiler.ir.ops import ELEMENTWISE_OPS, GROUP_OPS, MATMUL_OPS

from .plan import Phase, Plan

_PHASE_WORDS: Final = {
    ("once", 0): "once a call",
    ("batched", 0): "all steps at once",
    ("scan", 1): "scan",
    ("scan", -1): "scan, last step first",
    ("loop", 1): "loop",
    ("loop", -1): "loop, last step first",
}


def explain(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain JSON values; FLOPs and numbers are for each step and row."""
    dataflow = plan.dataflow
    costs = {phase.id: plan.phase_cost(phase) for phase in plan.phases}
    work = sum(cost.matmul_flops + cost.elementwise_ops for cost in costs.values()) or 1
    looped = {n for phase in plan.phases if phase.kind == "loop" for n in phase.values}
    return {
        "phases": [
            {
                "number": phase.id,
                "pass": "backward" if phase.adjoint else "forward",
                "kind": phase.kind,
                "direction": phase.direction,
                "products": _matmul_names(dataflow, phase.values),
                "dependent_products": _count_dependent_matmuls(plan, phase),
                "fused": [
                    name for group in phase.groups for name in _fused_ops(plan, group.epilogue)
                ],
                "product_flops": costs[phase.id].matmul_flops,
                "elementwise": costs[phase.id].elementwise_ops,
                "bytes": 4 * costs[phase.id].elements_moved,
                "weight_bytes": 4 * costs[phase.id].weight_elements,
                "share": round(
                    (costs[phase.id].matmul_flops + costs[phase.id].elementwise_ops) / work, 4
                ),
            }
            for phase in plan.phases
        ],
        "hoisted": [
            _format_matmul(dataflow, v.id)
            for v in dataflow.values
            if v.id not in looped and not v.adjoint and v.rate == "step" and looped
            if _is_matmul(v)
        ],
        "saved": sum(b.width for b in plan.buffers if b.is_residual and b.extent == "series"),
        "memory": plan.request.memory,
        "without": sorted(plan.request.without),
    }


def describe(report: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a report by `explain`, to which `backend` and `why` may be added."""
    for side in ("forward", "backward"):
        phases = [phase for phase in report["phases"] if phase["pass"] == side]
        if not phases:
            continue
        yield f"{side} pass"
        for phase in phases:
            when = _PHASE_WORDS[phase["kind"], phase["direction"]]
            where = f"  [{phase['backend']}: {phase['why']}]" if "backend" in phase else ""
            yield f"  {phase['number']:>2}  {when:22}{phase['share']:>7.1%} of the work{where}"
            if phase["products"]:
                yield f"      products: {'; '.join(phase['products'])}"
                if phase["kind"] == "loop":
                    yield f"      one after the other in a step: {phase['dependent_products']}"
            if phase["fused"]:
                yield f"      fused: {_format_counts(phase['fused'])}"
    if report["hoisted"]:
        yield f"hoisted out of loops: {'; '.join(report['hoisted'])}"
    saved = f"{report['saved']:,} numbers a step and row"
    yield f"kept for the backward pass ({report['memory']}): {saved}"
    if report["without"]:
        yield f"passes left out: {', '.join(report['without'])}"


def _matmul_names(dataflow: Dataflow, value_ids: Iterable[int]) -> list[str]:
    return [_format_matmul(dataflow, n) for n in value_ids if _is_matmul(dataflow.values[n])]


def _is_matmul(value: Value) -> bool:
    return value.operation in MATMUL_OPS or value.operation in {"outer_sum", "indexed_sum"}


def _format_matmul(dataflow: Dataflow, value_id: int) -> str:
    """Write a matmul in the names of its parameters: `Wf, Wi · h[t-1]`."""
    value = dataflow.values[value_id]
    left, right = (dataflow.values[operand.value] for operand in value.operands)
    if value.operation in MATMUL_OPS:
        mark = "ᵀ" if value.attributes[0] else ""
        matrices = ", ".join(f"{name}{mark}" for name in _parameter_names(dataflow, left))
        return f"{matrices} · {_format_operand(dataflow, right, value.operands[1].delay)}"
    names = sorted(_gradient_names(dataflow, value_id))
    return f"gradient of {', '.join(names)}" if names else "a gradient"


def _parameter_names(dataflow: Dataflow, value: Value) -> list[str]:
    if value.operation == "parameter":
        return [str(value.attributes[0])]
    names = [
        name
        for operand in value.operands
        for name in _parameter_names(dataflow, dataflow.values[operand.value])
    ]
    return names or ["matrix"]


def _format_operand(dataflow: Dataflow, value: Value, delay: int) -> str:
    time = f"[t{-delay:+d}]" if delay else ""
    if value.operation in {"state", "input"}:
        return f"{value.attributes[0]}{time}"
    if value.operation == "seed":
        return f"gradient of {value.attributes[1]}"
    if value.adjoint:
        return f"gradients{time}"
    if value.origin >= 0 and dataflow.graph.nodes[value.origin].local_name:
        return f"{dataflow.graph.nodes[value.origin].local_name}{time}"
    return f"%{value.id}{time}"


def _gradient_names(dataflow: Dataflow, value_id: int) -> set[str]:
    """Collect the gradients that a value is or goes into, through other values of a call."""
    names = {gradient.name for gradient in dataflow.gradients_by_value.get(value_id, ())}
    for user in dataflow.users[value_id]:
        if dataflow.values[user].rate == "call":
            names |= _gradient_names(dataflow, user)
    return names


def _count_dependent_matmuls(plan: Plan, phase: Phase) -> int:
    """Count a phase's groups with matmuls: a step must wait for these one by one."""
    values = plan.dataflow.values
    return sum(any(values[n].operation in MATMUL_OPS for n in g.roots) for g in phase.groups)


def _fused_ops(plan: Plan, value_ids: tuple[int, ...]) -> list[str]:
    operations = [plan.dataflow.values[value_id].operation for value_id in value_ids]
    return [name for name in operations if name in ELEMENTWISE_OPS or name in GROUP_OPS]


def _format_counts(names: list[str]) -> str:
    """Join names with their counts: `3 add, tanh`."""
    counts = {name: names.count(name) for name in names}
    return ", ".join(name if count == 1 else f"{count} {name}" for name, count in counts.items())
