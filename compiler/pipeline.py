"""From operator graph to plan: the passes, in their order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from ..operators.graph import OperatorGraph
from .adjoint import differentiate
from .buffers import place
from .flow import Flow
from .lower import lower
from .passes.distribute import distribute
from .passes.flatten import flatten
from .passes.hoist import hoist
from .passes.narrow import narrow
from .passes.pack import pack
from .passes.recompute import recompute
from .passes.retime import retime
from .passes.scan import scan
from .passes.split import split
from .passes.stack import stack
from .passes.tidy import tidied
from .plan import Plan
from .request import Request
from .schedule import schedule
from .verify import verify


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
