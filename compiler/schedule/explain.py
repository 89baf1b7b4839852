"""What a plan does, for people: phases, what left the loops, what is fused and saved, the work."""

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
    """A plan as plain JSON values; FLOPs and numbers are for each step and row."""
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
                "products": _products(plan.dataflow, phase.values),
                "dependent_products": _count_dependent_matmuls(plan, phase),
                "fused": [
                    plan.dataflow.values[n].operation
                    for g in phase.groups
                    for n in _fused_ops(plan, g.epilogue)
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
            _in_words(plan.dataflow, v.id)
            for v in plan.dataflow.values
            if v.id not in looped and not v.adjoint and v.rate == "step" and looped
            if _is_matmul(v)
        ],
        "saved": sum(b.width for b in plan.buffers if b.is_residual and b.extent == "series"),
        "memory": plan.request.memory,
        "without": sorted(plan.request.without),
    }


def describe(report: dict[str, Any]) -> Iterator[str]:
    """The lines that a person reads, from what `explain` gives (with `backend` and `why` added)."""
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
                yield f"      fused: {_counted(phase['fused'])}"
    if report["hoisted"]:
        yield f"hoisted out of loops: {'; '.join(report['hoisted'])}"
    kept = f"{report['saved']:,} numbers a step and row"
    yield f"kept for the backward pass ({report['memory']}): {kept}"
    if report["without"]:
        yield f"passes left out: {', '.join(report['without'])}"


def _products(flow: Dataflow, numbers: Iterable[int]) -> list[str]:
    """The products among some values, in the names of their parameters."""
    return [_in_words(flow, n) for n in numbers if _is_matmul(flow.values[n])]


def _is_matmul(value: Value) -> bool:
    return value.operation in MATMUL_OPS or value.operation in {"outer_sum", "indexed_sum"}


def _in_words(flow: Dataflow, number: int) -> str:
    """A product in the names of its parameters: `Wf, Wi · h[t-1]`."""
    value = flow.values[number]
    left, right = (flow.values[read.value] for read in value.operands)
    if value.operation in MATMUL_OPS:
        mark = "ᵀ" if value.attributes[0] else ""
        what = ", ".join(f"{name}{mark}" for name in _parameter_names(flow, left))
        return f"{what} · {_format_operand(flow, right, value.operands[1].delay)}"
    readers = sorted(_gradient_names(flow, number))
    return f"gradient of {', '.join(readers)}" if readers else "a gradient"


def _parameter_names(flow: Dataflow, value: Value) -> list[str]:
    if value.operation == "parameter":
        return [str(value.attributes[0])]
    found = [_parameter_names(flow, flow.values[read.value]) for read in value.operands]
    return [name for names in found for name in names] or ["matrix"]


def _format_operand(flow: Dataflow, value: Value, delay: int) -> str:
    time = f"[t{-delay:+d}]" if delay else ""
    if value.operation in {"state", "input"}:
        return f"{value.attributes[0]}{time}"
    if value.operation == "seed":
        return f"gradient of {value.attributes[1]}"
    if value.adjoint:
        return f"gradients{time}"
    if value.origin >= 0 and flow.graph.nodes[value.origin].local_name:
        return f"{flow.graph.nodes[value.origin].local_name}{time}"
    return f"%{value.id}{time}"


def _gradient_names(flow: Dataflow, number: int) -> set[str]:
    found = {g.name for g in flow.gradients_by_value.get(number, ())}
    for reader in flow.users[number]:
        if flow.values[reader].rate == "call":
            found |= _gradient_names(flow, reader)
    return found


def _count_dependent_matmuls(plan: Plan, phase: Phase) -> int:
    """How many of a phase's groups hold products: what a step must wait for, one by one."""
    return sum(
        any(plan.dataflow.values[n].operation in MATMUL_OPS for n in group.roots)
        for group in phase.groups
    )


def _fused_ops(plan: Plan, numbers: tuple[int, ...]) -> list[int]:
    return [
        n
        for n in numbers
        if plan.dataflow.values[n].operation in ELEMENTWISE_OPS
        or plan.dataflow.values[n].operation in GROUP_OPS
    ]


def _counted(names: list[str]) -> str:
    """Names with how often each is there: `3 add, tanh`."""
    counts = {name: names.count(name) for name in names}
    return ", ".join(name if count == 1 else f"{count} {name}" for name, count in counts.items())
