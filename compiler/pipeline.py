"""The pipeline: operator graph -> dataflow -> passes -> phases -> plan, and the pass order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
    """A rewrite of the dataflow, and its name in `without`."""

    name: str
    rewrite: Callable[[Dataflow], Dataflow]


FORWARD_PASSES: Final = (
    # First: flat sums hide no matmuls from the passes below.
    Pass("flatten", reassociate),
    # Before differentiation, so that the gradients of stacked matrices are one matmul, too.
    Pass("stack", combine_matmuls),
    # After stack, which puts gates side by side.
    Pass("pack", fuse_horizontally),
)
"""The passes before differentiation."""

JOINT_PASSES: Final = (
    # First: matmul rows that no user or no cycle reads need not be split.
    Pass("narrow", prune_matmuls),
    # Before flatten and hoist, which integrate the sums that it creates.
    Pass("split", split_concat_matmuls),
    # Before flatten: it creates chains of factors.
    Pass("distribute", distribute_multiply),
    # Before hoist, which splits n-ary operations.
    Pass("flatten", reassociate),
    Pass("hoist", hoist_invariants),
    # After hoist, which leaves single terms at their users.
    Pass("retime", retime),
    # Last: no other pass needs to know `linear`.
    Pass("scan", recognize_scans),
)
"""The passes over the joint graph of forward and backward pass."""

PASS_NAMES: Final = tuple(dict.fromkeys(p.name for p in (*FORWARD_PASSES, *JOINT_PASSES)))


def build_dataflow(graph: OperatorGraph, request: PlanRequest) -> Dataflow:
    """Lower, differentiate and rewrite a graph; verify the dataflow after each pass.

    Raises:
        Unsupported: when the graph holds an operation that only the reference knows.
        ValueError: when `request.without` holds an unknown name.
    """
    unknown = sorted(request.without - set(PASS_NAMES))
    if unknown:
        raise ValueError(f"expected passes among {', '.join(PASS_NAMES)}, got {unknown[0]!r}")
    dataflow = _apply_passes(lower(graph, training=request.training), FORWARD_PASSES, request)
    if request.gradients:
        dataflow = differentiate(dataflow, request)
    dataflow = _apply_passes(canonicalize(dataflow, differentiated=True), JOINT_PASSES, request)
    if request.memory == "recompute":
        dataflow = rematerialize(dataflow)
        verify_dataflow(dataflow)
    return dataflow


def build_plan(graph: OperatorGraph, request: PlanRequest) -> Plan:
    """Build the plan of a graph.

    Raises:
        Unsupported: when the graph holds an operation that only the reference knows.
        ValueError: when `request.without` holds an unknown name.
    """
    dataflow = build_dataflow(graph, request)
    phases = distribute_loops(dataflow, sink_elementwise=request.sink_elementwise)
    regions, buffers = assign_buffers(dataflow, phases)
    return Plan(dataflow, request, phases, regions, buffers)


def _apply_passes(dataflow: Dataflow, passes: tuple[Pass, ...], request: PlanRequest) -> Dataflow:
    dataflow = canonicalize(dataflow)
    verify_dataflow(dataflow)
    for compiler_pass in passes:
        if compiler_pass.name not in request.without:
            dataflow = canonicalize(compiler_pass.rewrite(dataflow))
            verify_dataflow(dataflow)
    return dataflow
