"""Build the plan level: phases of the compiled model, their fused ops and shares of work.

The plan is that of a forward pass in evaluation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from rnnc.compiler.errors import Unsupported
from rnnc.compiler.ir.dataflow import Value
from rnnc.compiler.pipeline import build_plan
from rnnc.compiler.request import PlanRequest
from rnnc.compiler.schedule.plan import FusionGroup, Phase, Plan
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.runtime.diagrams.model.diagram import Box, Cluster, Diagram
from rnnc.runtime.diagrams.model.labels import Label, TextRun, name_label, plain_label

from .contract import BoxLink, contract_graph
from .functions import parameter_details
from .layer_level import layer_diagram
from .variables import node_key, variable_boxes

MAX_LISTED: Final = 7
"""Operations, or weights, listed in one box."""

_SYMBOLS: Final = {
    "sigmoid": "σ",
    "multiply": "⊙",
    "add": "+",
    "subtract": "−",
    "negate": "−",
    "divide": "/",
    "one_minus": "1 −",
    "concatenate": "[ ; ]",
    "linear": "a v + b",
}
_HIDDEN_OPERATIONS: Final = frozenset({"state", "slice", "stopgrad"})
_PHASE_DESCRIPTIONS: Final = {
    ("batched", 0): "all steps at once",
    ("scan", 1): "a scan over time",
    ("scan", -1): "a scan backward in time",
    ("loop", 1): "one step after the other",
    ("loop", -1): "one step after the other, backward in time",
}


def plan_diagram(graph: OperatorGraph) -> Diagram:
    """Build a frame for each phase of the compiled model, in order.

    A model that only the reference runs is one loop.
    """
    try:
        plan = build_plan(graph, PlanRequest(training=False))
    except Unsupported as error:
        return _single_loop_diagram(graph, str(error))
    states = {plan.dataflow.ids_by_name["state", s.name]: s for s in graph.states}
    boxes = {box.key: box for box in variable_boxes(graph)}
    group_of: dict[int, str] = {}
    node_of: dict[int, int] = {}
    for value in plan.dataflow.values:
        if value.operation == "input":
            node = next(i.node for i in graph.inputs if i.name == value.attributes[0])
            group_of[value.id], node_of[value.id] = node_key(node), node
    clusters: list[Cluster] = []
    drawn: list[Box] = []
    shares = _work_shares(plan)
    for phase in plan.forward_phases:
        if phase.kind == "once":
            continue
        key = f"phase{phase.id}"
        clusters.append(
            Cluster(
                key,
                plain_label(f"{phase.kind} {phase.id} · {shares[phase.id]:.0%}"),
                details=(
                    ("phase", f"{phase.id}, {_PHASE_DESCRIPTIONS[phase.kind, phase.direction]}"),
                    ("arithmetic", f"{shares[phase.id]:.1%} of a step's operations"),
                    ("cost a step", str(plan.phase_cost(phase))),
                ),
            )
        )
        for index, group in enumerate(phase.groups):
            drawn += _group_boxes(plan, phase, index, group, group_of)
            for number in group.values:
                if number in states:
                    node = states[number].node
                    group_of[number], node_of[number] = node_key(node), node
                    state = boxes.pop(node_key(node))
                    drawn.append(_move_into_cluster(state, key))
    links = _value_links(plan, group_of, node_of)
    for index, read in enumerate(plan.dataflow.outputs):
        node = node_of.get(read.value, -1)
        links.append((group_of[read.value], f"y{index}", (node, -1 - index, read.delay)))
    return contract_graph(
        graph,
        "plan",
        (*boxes.values(), *drawn),
        clusters,
        links,
        merge=True,
        captions=_captions(plan, shares),
    )


def _single_loop_diagram(graph: OperatorGraph, reason: str) -> Diagram:
    """Put all of a model into one loop phase, for models that only the reference runs."""
    diagram = layer_diagram(graph)
    frame = Cluster(
        "phase0", plain_label("loop 0 · 100%"), details=(("phase", _PHASE_DESCRIPTIONS["loop", 1]),)
    )
    unframed_roles = {"input", "output", "past", "future"}
    return replace(
        diagram,
        level="plan",
        boxes=tuple(
            b if b.cluster or b.role in unframed_roles else replace(b, cluster=frame.key)
            for b in diagram.boxes
        ),
        clusters=(
            frame,
            *(c if c.parent else replace(c, parent=frame.key) for c in diagram.clusters),
        ),
        captions=(f"{reason}: no phases, one loop over all of it", *diagram.captions),
    )


def _move_into_cluster(box: Box, cluster: str) -> Box:
    return replace(box, cluster=cluster)


def _work_shares(plan: Plan) -> dict[int, float]:
    """Return each phase's share of the arithmetic of one step."""
    work = {}
    for phase in plan.forward_phases:
        cost = plan.phase_cost(phase)
        work[phase.id] = 0 if phase.kind == "once" else cost.matmul_flops + cost.elementwise_ops
    total = sum(work.values()) or 1
    return {number: amount / total for number, amount in work.items()}


def _group_boxes(
    plan: Plan, phase: Phase, index: int, group: FusionGroup, group_of: dict[int, str]
) -> list[Box]:
    """Build one box for each matmul or reduction, and one for their fused epilogue."""
    values = plan.dataflow.values
    cluster = f"phase{phase.id}"
    boxes: list[Box] = []
    for number in group.roots:
        box = _root_box(plan, values[number], cluster)
        group_of[number] = box.key
        boxes.append(box)
    work = [values[n] for n in group.epilogue if values[n].operation not in _HIDDEN_OPERATIONS]
    key = f"f{phase.id}_{index}"
    for number in group.epilogue:
        if values[number].operation in {"slice", "stopgrad"}:
            source = values[number].operands[0].value
            group_of[number] = group_of.get(source, key)
        elif values[number].operation != "state":
            group_of[number] = key
    if work:
        boxes.append(_epilogue_box(plan, work, key, cluster))
    return boxes


def _root_box(plan: Plan, value: Value, cluster: str) -> Box:
    graph = plan.dataflow.graph
    names = _weight_names(plan, value.operands[0].value) if value.operation != "group_max" else []
    parameters = [graph.parameters_by_name[n] for n in names if n in graph.parameters_by_name]
    details = [("computes", f"{value.operation.replace('_', ' ')} of {value.size:,} entries")]
    for parameter in parameters:
        details += parameter_details(parameter)
    if not parameters:
        text = value.operation.replace("_", " ")
        return Box(f"v{value.id}", "unit", plain_label(text), (), cluster, details=tuple(details))
    label: list[TextRun] = []
    for name_ in names[:MAX_LISTED]:
        label += [*([TextRun(" ; ")] if label else []), *name_label(name_.rpartition(".")[2])]
    if len(names) > MAX_LISTED:
        label.append(TextRun(" …"))
    shape = plan.dataflow.values[value.operands[0].value].shape
    note = plain_label(" × ".join(map(str, shape)))
    return Box(
        f"v{value.id}",
        "map",
        tuple(label),
        (note,),
        cluster,
        parameters=tuple(p.name for p in parameters),
        details=tuple(details),
    )


def _weight_names(plan: Plan, number: int) -> list[str]:
    """Return the names of the parameters that make up a matrix, in order."""
    value = plan.dataflow.values[number]
    if value.operation == "parameter":
        return [str(value.attributes[0])]
    if value.rate != "call":
        return []
    return [name for read in value.operands for name in _weight_names(plan, read.value)]


def _epilogue_box(plan: Plan, work: list[Value], key: str, cluster: str) -> Box:
    symbols = [_SYMBOLS.get(v.operation, v.operation.replace("_", " ")) for v in work]
    text = "  ".join(symbols[:MAX_LISTED]) + (" …" if len(symbols) > MAX_LISTED else "")
    label: Label = plain_label(text)
    widest = max(value.size for value in work)
    entries = sum(value.size for value in work)
    notes = (plain_label(f"{len(work)} fused" if len(work) > 1 else f"{widest:,}"),)
    details = (
        ("fused", f"{len(work)} elementwise operations, {entries:,} entries a step"),
        ("operations", ", ".join(symbols)),
    )
    return Box(key, "unit", label, notes, cluster, details=details)


def _value_links(plan: Plan, group_of: dict[int, str], node_of: dict[int, int]) -> list[BoxLink]:
    values = plan.dataflow.values
    links: list[BoxLink] = []
    for phase in plan.forward_phases:
        for number in phase.values:
            target = group_of.get(number)
            for read in values[number].operands:
                source = group_of.get(read.value)
                if source and target and (source != target or read.delay):
                    node = node_of.get(read.value, -1)
                    links.append((source, target, (node, values[number].origin, read.delay)))
    return links


def _captions(plan: Plan, shares: dict[int, float]) -> tuple[str, ...]:
    """Summarize the phases and their shares of work in one line."""
    phases = [
        f"{phase.kind} {phase.id} {shares[phase.id]:.0%}"
        for phase in plan.forward_phases
        if phase.kind != "once"
    ]
    caption = f"arithmetic of a step: {', '.join(phases)}"
    per_call = sum(len(phase.values) for phase in plan.forward_phases if phase.kind == "once")
    return (f"{caption}; once a call: {per_call} values" if per_call else caption,)
