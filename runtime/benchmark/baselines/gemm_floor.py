"""The first floor: only the matrix products of a workload, through torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rnnc.compiler.errors import Unsupported
from rnnc.compiler.pipeline import build_plan
from rnnc.compiler.request import PlanRequest, training_request
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.runtime.benchmark.workload.candidate import Candidate, Unavailable
from rnnc.runtime.benchmark.workload.workload import Workload


@dataclass(frozen=True, slots=True)
class Gemm:
    """`count` matrix products in sequence, each (m, k) times (k, n)."""

    m: int
    k: int
    n: int
    count: int

    @property
    def flops(self) -> int:
        """Two for each multiply-add."""
        return 2 * self.m * self.k * self.n * self.count


def gemm_floor(workload: Workload) -> Candidate:
    """Make the candidate that runs the plan's matmuls: in a loop one a step, else batched."""
    forward, step = (
        required_gemms(workload, training=False),
        required_gemms(workload, training=True),
    )
    description = f"{len(step)} products of the plan through torch.mm, nothing else"
    return Candidate("products", description, _torch_runner(forward), _torch_runner(step), None)


def required_gemms(workload: Workload, *, training: bool) -> list[list[Gemm]]:
    """Return the matmuls of each phase of the plan; those of a loop alternate by step.

    Raises:
        Unavailable: for a graph that has no plan.
    """
    try:
        plan = make_plan(workload.graph, training=training)
    except Unsupported as error:
        raise Unavailable(f"it has no plan: {error}") from None
    phases = [_phase_gemms(workload, plan, phase) for phase in plan.phases]
    return [products for products in phases if products]


def make_plan(graph: OperatorGraph, *, training: bool) -> Plan:
    """Return the plan of a training step, or of a forward pass in evaluation."""
    return build_plan(graph, training_request(graph) if training else PlanRequest(training=False))


def total_flops(phases: list[list[Gemm]]) -> int:
    """Sum the FLOPs of all products."""
    return sum(product.flops for products in phases for product in products)


def _phase_gemms(workload: Workload, plan: Plan, phase: Phase) -> list[Gemm]:
    values, gemms = plan.dataflow.values, list[Gemm]()
    rows = {"call": 1, "row": workload.rows, "step": workload.steps * workload.rows}
    for number in phase.values:
        value = values[number]
        shapes = [values[read.value].shape for read in value.operands]
        if value.operation == "matmul":
            *blocks, r, c = shapes[0]
            k, n = (r, c) if value.attributes[0] else (c, r)
            repeats = blocks[0] if blocks else 1
            if phase.direction:
                gemms.append(Gemm(workload.rows, k, n, workload.steps * repeats))
            else:
                gemms.append(Gemm(rows[value.rate], k, n, repeats))
        elif value.operation == "outer_sum":
            depth = max(rows[values[read.value].rate] for read in value.operands)
            repeats = int(value.attributes[0]) if value.attributes else 1
            gemms.append(Gemm(shapes[0][0] // repeats, depth, shapes[1][0] // repeats, repeats))
    return gemms


def _torch_runner(phases: list[list[Gemm]]) -> Callable[[], object]:
    calls_by_phase = [[_torch_mm(product) for product in products] for products in phases]
    counts = [[product.count for product in products] for products in phases]

    def run() -> None:
        for calls, times in zip(calls_by_phase, counts, strict=True):
            for turn in range(max(times)):
                for call, limit in zip(calls, times, strict=True):
                    if turn < limit:
                        call()

    return run


def _torch_mm(product: Gemm) -> Callable[[], Tensor]:
    # Sums over steps have a long inner dimension; torch then has a transposed left operand.
    is_deep = product.k > product.m
    a = torch.randn(product.k, product.m).t() if is_deep else torch.randn(product.m, product.k)
    b = torch.randn(product.k, product.n)
    return partial(torch.mm, a, b, out=torch.empty(product.m, product.n))
