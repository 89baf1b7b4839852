"""The first floor: the products that a case needs, through torch, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rnnc.compiler.errors import Unsupported
from rnnc.compiler.pipeline import plan_for
from rnnc.compiler.request import Request, training_request
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.runtime.benchmark.workload.candidate import Contender, Unavailable
from rnnc.runtime.benchmark.workload.workload import Case


@dataclass(frozen=True, slots=True)
class Product:
    """`count` products one after the other, each (m, k) times (k, n)."""

    m: int
    k: int
    n: int
    count: int

    @property
    def flops(self) -> int:
        """Two for each multiplication with its addition."""
        return 2 * self.m * self.k * self.n * self.count


def necessary_products(case: Case) -> Contender:
    """The products of the plan: in a loop one a step, else one for all steps."""
    forward, step = needed(case, training=False), needed(case, training=True)
    what = f"{len(step)} products of the plan through torch.mm, nothing else"
    return Contender("products", what, _through_torch(forward), _through_torch(step), None)


def needed(case: Case, *, training: bool) -> list[list[Product]]:
    """The products of each phase of the plan; those of a loop follow each other in a step.

    Raises:
        Unavailable: for a graph that has no plan.
    """
    try:
        plan = plan_of(case.graph, training=training)
    except Unsupported as error:
        raise Unavailable(f"it has no plan: {error}") from None
    phases = [_of_phase(case, plan, phase) for phase in plan.phases]
    return [products for products in phases if products]


def plan_of(graph: OperatorGraph, *, training: bool) -> Plan:
    """The plan of a training step, or of a forward pass in evaluation."""
    return plan_for(graph, training_request(graph) if training else Request(training=False))


def flops(phases: list[list[Product]]) -> int:
    """FLOPs of all products."""
    return sum(product.flops for products in phases for product in products)


def _of_phase(case: Case, plan: Plan, phase: Phase) -> list[Product]:
    values, found = plan.flow.values, list[Product]()
    rows = {"call": 1, "row": case.rows, "step": case.steps * case.rows}
    for number in phase.values:
        value = values[number]
        shapes = [values[read.value].shape for read in value.operands]
        if value.operation == "matmul":
            *blocks, r, c = shapes[0]
            k, n = (r, c) if value.attributes[0] else (c, r)
            times = blocks[0] if blocks else 1
            if phase.direction:
                found.append(Product(case.rows, k, n, case.steps * times))
            else:
                found.append(Product(rows[value.rate], k, n, times))
        elif value.operation == "outer_sum":
            depth = max(rows[values[read.value].rate] for read in value.operands)
            times = int(value.attributes[0]) if value.attributes else 1
            found.append(Product(shapes[0][0] // times, depth, shapes[1][0] // times, times))
    return found


def _through_torch(phases: list[list[Product]]) -> Callable[[], object]:
    ready = [[_call(product) for product in products] for products in phases]
    counts = [[product.count for product in products] for products in phases]

    def run() -> None:
        for calls, times in zip(ready, counts, strict=True):
            for turn in range(max(times)):
                for call, most in zip(calls, times, strict=True):
                    if turn < most:
                        call()

    return run


def _call(product: Product) -> Callable[[], Tensor]:
    # Sums over steps have their long side within; torch has the left one transposed then.
    deep = product.k > product.m
    a = torch.randn(product.k, product.m).t() if deep else torch.randn(product.m, product.k)
    b = torch.randn(product.k, product.n)
    return partial(torch.mm, a, b, out=torch.empty(product.m, product.n))
