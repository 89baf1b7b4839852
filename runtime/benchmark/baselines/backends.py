"""The model itself, on each of its backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.runtime.benchmark.workload.candidate import (
    Candidate,
    CandidateFactory,
    StepResult,
    Unavailable,
)
from rnnc.runtime.benchmark.workload.workload import Workload

RANDOM_OPERATIONS = frozenset({"dropout", "variational", "zoneout"})


def backend_candidate(name: str, *, label: str = "", **options: Any) -> CandidateFactory:
    """A maker of the model on a backend; `options` as those of `rnnc.compile`."""

    def make(case: Workload) -> Candidate:
        try:
            model = case.compile(name, **options)
        except RnnError as error:
            raise Unavailable(error.diagnostics[0].message) from None
        return Candidate(
            label or name,
            _describe_backend(model),
            make_forward(case, model),
            make_step(case, model),
            lambda: compute_step_result(case, model),
        )

    return make


def make_forward(case: Workload, model: CompiledRNN) -> Callable[[], object]:
    """A forward pass in evaluation."""
    inputs, drawn = dict(case.inputs), draws_masks(case)

    def forward() -> object:
        # Elsewhere both modes are the same, and to change them costs time.
        if drawn:
            model.eval()
        with torch.no_grad():
            return model(inputs)

    return forward


def make_step(case: Workload, model: CompiledRNN) -> Callable[[], object]:
    """A training step without loss and optimizer."""
    inputs, drawn = dict(case.inputs), draws_masks(case)
    weights = [p for p in model.parameters() if p.requires_grad]

    def step() -> object:
        if drawn:
            model.train()
        for weight in weights:
            weight.grad = None
        y, _ = model(inputs)
        outputs = y if isinstance(y, tuple) else (y,)
        torch.autograd.backward(outputs, case.output_gradients)
        return outputs

    return step


def compute_step_result(case: Workload, model: CompiledRNN) -> StepResult:
    """What a training step computes; masks are drawn from one seed, so that they are the same."""
    torch.manual_seed(0)
    outputs: Any = make_step(case, model)()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return StepResult(tuple(output.detach() for output in outputs), gradients)


def draws_masks(case: Workload) -> bool:
    """Whether training draws masks."""
    graph = case.graph
    return any(node.operation in RANDOM_OPERATIONS for node in graph.nodes) or any(
        parameter.weightdrop for parameter in graph.parameters
    )


def _describe_backend(model: CompiledRNN) -> str:
    """The backend that runs, and what runs the phases of its plan."""
    like = next(model.parameters(), torch.empty(0))
    chosen = model.backends.choose(like)
    plan = chosen.plan()
    if plan is None:
        return f"backend {chosen.name}: one operation of torch at a time"
    kinds: dict[str, list[str]] = {}
    for phase in plan.phases:
        kinds.setdefault(chosen.explain(phase), []).append(phase.kind)
    parts = (f"{_format_counts(found)}: {why}" for why, found in kinds.items())
    return f"backend {chosen.name}: " + "; ".join(parts)


def _format_counts(kinds: list[str]) -> str:
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
