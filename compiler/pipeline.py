"""From operator graph to plan: the passes, in their order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from rnnc.compiler.autodiff.reverse_mode import differentiate
from rnnc.compiler.ir.dataflow import Flow
from rnnc.compiler.ir.verifier import verify
from rnnc.compiler.lowering.lower import lower
from rnnc.compiler.memory.buffer_assignment import place
from rnnc.compiler.passes.canonicalize import tidied
from rnnc.compiler.passes.combine_matmuls import stack
from rnnc.compiler.passes.distribute_multiply import distribute
from rnnc.compiler.passes.hoist_invariants import hoist
from rnnc.compiler.passes.horizontal_fusion import pack
from rnnc.compiler.passes.prune_matmuls import narrow
from rnnc.compiler.passes.reassociate import flatten
from rnnc.compiler.passes.recognize_scans import scan
from rnnc.compiler.passes.rematerialize import recompute
from rnnc.compiler.passes.retime import retime
from rnnc.compiler.passes.split_concat_matmuls import split
from rnnc.compiler.schedule.loop_distribution import schedule
from rnnc.compiler.schedule.plan import Plan
from rnnc.operators.graph.operator_graph import OperatorGraph

from .request import Request


@dataclass(frozen=True, slots=True)
class Pass:
    """One rewrite: its name for `--without`, and why it stands where it stands."""

    name: str
    rewrite: Callable[[Flow], Flow]
    reason: str


BEFORE: Final = (
    Pass("flatten", flatten, "first: sums of many terms hide nothing from the passes below"),
    Pass("stack", stack, "before the adjoint, so that gradients of stacked products are one, too"),
    Pass("pack", pack, "after stack, which puts gates side by side; before the adjoint likewise"),
)
"""Passes over the forward flow."""

AFTER: Final = (
    Pass("narrow", narrow, "first: what nobody reads of a product, or no cycle, need not be split"),
    Pass("split", split, "before flatten and hoist, which put the sums that it makes in place"),
    Pass("distribute", distribute, "before flatten: it makes chains of factors"),
    Pass("flatten", flatten, "before hoist, which splits what is flat"),
    Pass("hoist", hoist, "takes terms and factors out of cycles, forward and backward alike"),
    Pass("retime", retime, "after hoist, which leaves single terms at their readers"),
    Pass("scan", scan, "last: what it makes of a cycle no other pass needs to know"),
)
"""Passes over the differentiated flow."""

NAMES: Final = tuple(dict.fromkeys(p.name for p in (*BEFORE, *AFTER)))


def flow_for(graph: OperatorGraph, request: Request) -> Flow:
    """The flow that a plan is made of: lowered, differentiated, rewritten; checked at each step.

    Raises:
        Unsupported: when the graph holds an operation that only the reference knows.
        ValueError: when there is no pass of a name that is to be left out.
    """
    unknown = sorted(request.without - set(NAMES))
    if unknown:
        raise ValueError(f"expected passes among {', '.join(NAMES)}, got {unknown[0]!r}")
    flow = _rewritten(lower(graph, training=request.training), BEFORE, request)
    if request.gradients:
        flow = differentiate(flow, request)
    flow = _rewritten(tidied(flow, differentiated=True), AFTER, request)
    if request.memory == "recompute":
        flow = recompute(flow)
        verify(flow)
    return flow


def plan_for(graph: OperatorGraph, request: Request) -> Plan:
    """The plan of a graph.

    Raises:
        Unsupported: when the graph holds an operation that only the reference knows.
        ValueError: when there is no pass of a name that is to be left out.
    """
    flow = flow_for(graph, request)
    phases = schedule(flow, sink=request.sink)
    places, buffers = place(flow, phases)
    return Plan(flow, replace(request), phases, places, buffers)


def _rewritten(flow: Flow, passes: tuple[Pass, ...], request: Request) -> Flow:
    flow = tidied(flow)
    verify(flow)
    for step in passes:
        if step.name not in request.without:
            flow = tidied(step.rewrite(flow))
            verify(flow)
    return flow
