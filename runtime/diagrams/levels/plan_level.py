"""The plan level: the phases that a compiled model runs, what is fused in each, and its share.

The plan is that of a forward pass in evaluation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from rnnc.compiler.errors import Unsupported
from rnnc.compiler.ir.dataflow import Value
from rnnc.compiler.pipeline import plan_for
from rnnc.compiler.request import Request
from rnnc.compiler.schedule.plan import Group, Phase, Plan
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.runtime.diagrams.model.diagram import Box, Cluster, Diagram
from rnnc.runtime.diagrams.model.labels import Label, Run, name, plain

from .contract import Link, contract
from .functions import parameter_details
from .layer_level import layer_diagram
from .variables import node_key, variable_boxes

MOST_NAMED: Final = 7
"""Operations, or weights, that a box lists."""

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
_SILENT: Final = frozenset({"state", "slice", "stopgrad"})
_WORDS: Final = {
    ("batched", 0): "all steps at once",
    ("scan", 1): "a scan over time",
    ("scan", -1): "a scan backward in time",
    ("loop", 1): "one step after the other",
    ("loop", -1): "one step after the other, backward in time",
}


def plan_diagram(graph: OperatorGraph) -> Diagram:
    """The phases of the compiled model as frames, in order.

    A model that only the reference runs is one loop.
    """
    try:
        plan = plan_for(graph, Request(training=False))
    except Unsupported as error:
        return _one_loop(graph, str(error))
    states = {plan.flow.numbers["state", s.name]: s for s in graph.states}
    boxes = {box.key: box for box in variable_boxes(graph)}
    group_of: dict[int, str] = {}
    node_of: dict[int, int] = {}
    for value in plan.flow.values:
        if value.operation == "input":
            node = next(i.node for i in graph.inputs if i.name == value.attributes[0])
            group_of[value.number], node_of[value.number] = node_key(node), node
    clusters: list[Cluster] = []
    drawn: list[Box] = []
    shares = _shares(plan)
    for phase in plan.forward:
        if phase.kind == "once":
            continue
        key = f"phase{phase.number}"
        clusters.append(
            Cluster(
                key,
                plain(f"{phase.kind} {phase.number} · {shares[phase.number]:.0%}"),
                details=(
                    ("phase", f"{phase.number}, {_WORDS[phase.kind, phase.direction]}"),
                    ("arithmetic", f"{shares[phase.number]:.1%} of a step's operations"),
                    ("cost a step", str(plan.cost(phase))),
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
                    drawn.append(_inside(state, key))
    links = _links(plan, group_of, node_of)
    for index, read in enumerate(plan.flow.outputs):
        node = node_of.get(read.value, -1)
        links.append((group_of[read.value], f"y{index}", (node, -1 - index, read.delay)))
    return contract(
        graph,
        "plan",
        (*boxes.values(), *drawn),
        clusters,
        links,
        merge=True,
        captions=_captions(plan, shares),
    )


def _one_loop(graph: OperatorGraph, reason: str) -> Diagram:
    """All of a model in one frame, which the reference runs step after step."""
    whole = layer_diagram(graph)
    frame = Cluster("phase0", plain("loop 0 · 100%"), details=(("phase", _WORDS["loop", 1]),))
    fixed = {"input", "output", "past", "future"}
    return replace(
        whole,
        level="plan",
        boxes=tuple(
            b if b.cluster or b.role in fixed else replace(b, cluster=frame.key)
            for b in whole.boxes
        ),
        clusters=(
            frame,
            *(c if c.parent else replace(c, parent=frame.key) for c in whole.clusters),
        ),
        captions=(f"{reason}: no phases, one loop over all of it", *whole.captions),
    )


def _inside(box: Box, cluster: str) -> Box:
    return replace(box, cluster=cluster)


def _shares(plan: Plan) -> dict[int, float]:
    """Each phase's part of the arithmetic of one step."""
    work = {}
    for phase in plan.forward:
        cost = plan.cost(phase)
        work[phase.number] = 0 if phase.kind == "once" else cost.products + cost.entries
    total = sum(work.values()) or 1
    return {number: amount / total for number, amount in work.items()}


def _group_boxes(
    plan: Plan, phase: Phase, index: int, group: Group, group_of: dict[int, str]
) -> list[Box]:
    """One box for each product or reduction, one for all that is fused behind them."""
    values = plan.flow.values
    cluster = f"phase{phase.number}"
    boxes: list[Box] = []
    for number in group.wide:
        box = _wide(plan, values[number], cluster)
        group_of[number] = box.key
        boxes.append(box)
    work = [values[n] for n in group.fused if values[n].operation not in _SILENT]
    key = f"f{phase.number}_{index}"
    for number in group.fused:
        if values[number].operation in {"slice", "stopgrad"}:
            source = values[number].operands[0].value
            group_of[number] = group_of.get(source, key)
        elif values[number].operation != "state":
            group_of[number] = key
    if work:
        boxes.append(_fused(plan, work, key, cluster))
    return boxes


def _wide(plan: Plan, value: Value, cluster: str) -> Box:
    graph = plan.flow.graph
    names = _weights(plan, value.operands[0].value) if value.operation != "group_max" else []
    parameters = [graph.by_parameter[n] for n in names if n in graph.by_parameter]
    details = [("computes", f"{value.operation.replace('_', ' ')} of {value.size:,} entries")]
    for parameter in parameters:
        details += parameter_details(parameter)
    if not parameters:
        words = value.operation.replace("_", " ")
        return Box(f"v{value.number}", "unit", plain(words), (), cluster, details=tuple(details))
    label: list[Run] = []
    for name_ in names[:MOST_NAMED]:
        label += [*([Run(" ; ")] if label else []), *name(name_.rpartition(".")[2])]
    if len(names) > MOST_NAMED:
        label.append(Run(" …"))
    shape = plan.flow.values[value.operands[0].value].shape
    note = plain(" × ".join(map(str, shape)))
    return Box(
        f"v{value.number}",
        "map",
        tuple(label),
        (note,),
        cluster,
        arrays=tuple(p.name for p in parameters),
        details=tuple(details),
    )


def _weights(plan: Plan, number: int) -> list[str]:
    """The parameters that a matrix is made of, in order."""
    value = plan.flow.values[number]
    if value.operation == "parameter":
        return [str(value.attributes[0])]
    if value.rate != "call":
        return []
    return [name for read in value.operands for name in _weights(plan, read.value)]


def _fused(plan: Plan, work: list[Value], key: str, cluster: str) -> Box:
    symbols = [_SYMBOLS.get(v.operation, v.operation.replace("_", " ")) for v in work]
    listed = "  ".join(symbols[:MOST_NAMED]) + (" …" if len(symbols) > MOST_NAMED else "")
    label: Label = plain(listed)
    widest = max(value.size for value in work)
    entries = sum(value.size for value in work)
    notes = (plain(f"{len(work)} fused" if len(work) > 1 else f"{widest:,}"),)
    details = (
        ("fused", f"{len(work)} elementwise operations, {entries:,} entries a step"),
        ("operations", ", ".join(symbols)),
    )
    return Box(key, "unit", label, notes, cluster, details=details)


def _links(plan: Plan, group_of: dict[int, str], node_of: dict[int, int]) -> list[Link]:
    values = plan.flow.values
    links: list[Link] = []
    for phase in plan.forward:
        for number in phase.values:
            target = group_of.get(number)
            for read in values[number].operands:
                source = group_of.get(read.value)
                if source and target and (source != target or read.delay):
                    node = node_of.get(read.value, -1)
                    links.append((source, target, (node, values[number].origin, read.delay)))
    return links


def _captions(plan: Plan, shares: dict[int, float]) -> tuple[str, ...]:
    """The phases in a line of words, with their parts of the work."""
    phases = [
        f"{phase.kind} {phase.number} {shares[phase.number]:.0%}"
        for phase in plan.forward
        if phase.kind != "once"
    ]
    said = f"arithmetic of a step: {', '.join(phases)}"
    once = sum(len(phase.values) for phase in plan.forward if phase.kind == "once")
    return (f"{said}; once a call: {once} values" if once else said,)
