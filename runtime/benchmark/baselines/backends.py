"""Candidates that run the model on one of its backends."""

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
    """Return a factory for the model on a backend; `options` as in `rnnc.compile`."""

    def make(workload: Workload) -> Candidate:
        try:
            model = workload.compile(name, **options)
        except RnnError as error:
            raise Unavailable(error.diagnostics[0].message) from None
        return Candidate(
            label or name,
            _describe_backend(model),
            make_forward(workload, model),
            make_step(workload, model),
            lambda: compute_step_result(workload, model),
        )

    return make


def make_forward(workload: Workload, model: CompiledRNN) -> Callable[[], object]:
    """Make a function that runs a forward pass in evaluation."""
    inputs, has_masks = dict(workload.inputs), draws_masks(workload)

    def forward() -> object:
        # Without masks both modes are equal, and switching costs time.
        if has_masks:
            model.eval()
        with torch.no_grad():
            return model(inputs)

    return forward


def make_step(workload: Workload, model: CompiledRNN) -> Callable[[], object]:
    """Make a function that runs a training step without loss and optimizer."""
    inputs, has_masks = dict(workload.inputs), draws_masks(workload)
    weights = [p for p in model.parameters() if p.requires_grad]

    def step() -> object:
        if has_masks:
            model.train()
        for weight in weights:
            weight.grad = None
        y, _ = model(inputs)
        outputs = y if isinstance(y, tuple) else (y,)
        torch.autograd.backward(outputs, workload.output_gradients)
        return outputs

    return step


def compute_step_result(workload: Workload, model: CompiledRNN) -> StepResult:
    """Run a training step; masks are drawn from a fixed seed."""
    torch.manual_seed(0)
    outputs: Any = make_step(workload, model)()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return StepResult(tuple(output.detach() for output in outputs), gradients)


def draws_masks(workload: Workload) -> bool:
    """Test that training draws random masks."""
    graph = workload.graph
    return any(node.operation in RANDOM_OPERATIONS for node in graph.nodes) or any(
        parameter.weightdrop for parameter in graph.parameters
    )


def _describe_backend(model: CompiledRNN) -> str:
    """Describe the backend and the implementation of its plan's phases."""
    example = next(model.parameters(), torch.empty(0))
    backend = model.backends.choose(example)
    plan = backend.plan()
    if plan is None:
        return f"backend {backend.name}: one operation of torch at a time"
    kinds: dict[str, list[str]] = {}
    for phase in plan.phases:
        kinds.setdefault(backend.explain(phase), []).append(phase.kind)
    parts = (f"{_format_counts(phase_kinds)}: {why}" for why, phase_kinds in kinds.items())
    return f"backend {backend.name}: " + "; ".join(parts)


def _format_counts(kinds: list[str]) -> str:
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
