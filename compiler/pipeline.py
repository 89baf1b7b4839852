"""From operator graph to plan: the passes, in their order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from rnnc.compiler.autodiff.reverse_mode import differentiate
from rnnc.compiler.ir.dataflow import Dataflow
from rnnc.compiler.ir.verifier import verify_dataflow
from rnnc.compiler.lowering.lower import lower
from rnnc.compiler.memory.buffer_assignment import assign_buffers
from rnnc.compiler.passes.canonicalize import canonicalize
from rnnc.compiler.passes.combine_matmuls import combine_matmuls
from rnnc.compiler.passes.distribute_multiply import distribute_multiply
from rnnc.compiler.passes.hoist_invariants import hoist_invariants
from rnnc.compiler.passes.horizontal_fusion import fuse_horizontally
from rnnc.compiler.passes.prune_matmuls import prune_matmuls
from rnnc.compiler.passes.reassociate import reassociate
from rnnc.compiler.passes.recognize_scans import recognize_scans
from rnnc.compiler.passes.rematerialize import rematerialize
from rnnc.compiler.passes.retime import retime
from rnnc.compiler.passes.split_concat_matmuls import split_concat_matmuls
from rnnc.compiler.schedule.loop_distribution import distribute_loops
from rnnc.compiler.schedule.plan import Plan
from rnnc.operators.graph.operator_graph import OperatorGraph

from .request import PlanRequest


@dataclass(frozen=True, slots=True)
class Pass:
    """One rewrite: its name for `--without`, and why it stands where it stands."""

    name: str
    rewrite: Callable[[Dataflow], Dataflow]
    reason: str


FORWARD_PASSES: Final = (
    Pass("flatten", reassociate, "first: sums of many terms hide nothing from the passes below"),
    Pass(
        "stack",
        combine_matmuls,
        "before the adjoint, so that gradients of stacked products are one, too",
    ),
    Pass(
        "pack",
        fuse_horizontally,
        "after stack, which puts gates side by side; before the adjoint likewise",
    ),
)
"""Passes over the forward flow."""

JOINT_PASSES: Final = (
    Pass(
        "narrow",
        prune_matmuls,
        "first: what nobody reads of a product, or no cycle, need not be split",
    ),
    Pass(
        "split",
        split_concat_matmuls,
        "before flatten and hoist, which put the sums that it makes in place",
    ),
    Pass("distribute", distribute_multiply, "before flatten: it makes chains of factors"),
    Pass("flatten", reassociate, "before hoist, which splits what is flat"),
    Pass(
        "hoist",
        hoist_invariants,
        "takes terms and factors out of cycles, forward and backward alike",
    ),
    Pass("retime", retime, "after hoist, which leaves single terms at their readers"),
    Pass("scan", recognize_scans, "last: what it makes of a cycle no other pass needs to know"),
)
"""Passes over the differentiated flow."""

PASS_NAMES: Final = tuple(dict.fromkeys(p.name for p in (*FORWARD_PASSES, *JOINT_PASSES)))


def build_dataflow(graph: OperatorGraph, request: PlanRequest) -> Dataflow:
    """The flow that a plan is made of: lowered, differentiated, rewritten; checked at each step.

    Raises:
        Unsupported: when the graph holds an operation that only the reference knows.
        ValueError: when there is no pass of a name that is to be left out.
    """
    unknown = sorted(request.without - set(PASS_NAMES))
    if unknown:
        raise ValueError(f"expected passes among {', '.join(PASS_NAMES)}, got {unknown[0]!r}")
    flow = _apply_passes(lower(graph, training=request.training), FORWARD_PASSES, request)
    if request.gradients:
        flow = differentiate(flow, request)
    flow = _apply_passes(canonicalize(flow, differentiated=True), JOINT_PASSES, request)
    if request.memory == "recompute":
        flow = rematerialize(flow)
        verify_dataflow(flow)
    return flow


def build_plan(graph: OperatorGraph, request: PlanRequest) -> Plan:
    """The plan of a graph.

    Raises:
        Unsupported: when the graph holds an operation that only the reference knows.
        ValueError: when there is no pass of a name that is to be left out.
    """
    flow = build_dataflow(graph, request)
    phases = distribute_loops(flow, sink_elementwise=request.sink_elementwise)
    places, buffers = assign_buffers(flow, phases)
    return Plan(flow, replace(request), phases, places, buffers)


def _apply_passes(flow: Dataflow, passes: tuple[Pass, ...], request: PlanRequest) -> Dataflow:
    flow = canonicalize(flow)
    verify_dataflow(flow)
    for step in passes:
        if step.name not in request.without:
            flow = canonicalize(step.rewrite(flow))
            verify_dataflow(flow)
    return flow
