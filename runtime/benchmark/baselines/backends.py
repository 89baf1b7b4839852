"""The model itself, on each of its backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.runtime.benchmark.workload.candidate import Answer, Contender, Maker, Unavailable
from rnnc.runtime.benchmark.workload.workload import Case

RANDOM = frozenset({"dropout", "variational", "zoneout"})


def backend(name: str, *, called: str = "", **options: Any) -> Maker:
    """A maker of the model on a backend; `options` as those of `rnnc.compile`."""

    def make(case: Case) -> Contender:
        try:
            model = case.compiled(name, **options)
        except RnnError as error:
            raise Unavailable(error.diagnostics[0].message) from None
        return Contender(
            called or name,
            _what(model),
            forward_of(case, model),
            step_of(case, model),
            lambda: answer_of(case, model),
        )

    return make


def forward_of(case: Case, model: CompiledRNN) -> Callable[[], object]:
    """A forward pass in evaluation."""
    inputs, drawn = dict(case.inputs), is_random(case)

    def forward() -> object:
        # Elsewhere both modes are the same, and to change them costs time.
        if drawn:
            model.eval()
        with torch.no_grad():
            return model(inputs)

    return forward


def step_of(case: Case, model: CompiledRNN) -> Callable[[], object]:
    """A training step without loss and optimizer."""
    inputs, drawn = dict(case.inputs), is_random(case)
    weights = [p for p in model.parameters() if p.requires_grad]

    def step() -> object:
        if drawn:
            model.train()
        for weight in weights:
            weight.grad = None
        y, _ = model(inputs)
        outputs = y if isinstance(y, tuple) else (y,)
        torch.autograd.backward(outputs, case.given)
        return outputs

    return step


def answer_of(case: Case, model: CompiledRNN) -> Answer:
    """What a training step computes; masks are drawn from one seed, so that they are the same."""
    torch.manual_seed(0)
    outputs: Any = step_of(case, model)()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return Answer(tuple(output.detach() for output in outputs), gradients)


def is_random(case: Case) -> bool:
    """Whether training draws masks."""
    graph = case.graph
    return any(node.operation in RANDOM for node in graph.nodes) or any(
        parameter.weightdrop for parameter in graph.parameters
    )


def _what(model: CompiledRNN) -> str:
    """The backend that runs, and what runs the phases of its plan."""
    like = next(model.parameters(), torch.empty(0))
    chosen = model.backends.choose(like)
    plan = chosen.plan()
    if plan is None:
        return f"backend {chosen.name}: one operation of torch at a time"
    kinds: dict[str, list[str]] = {}
    for phase in plan.phases:
        kinds.setdefault(chosen.explain(phase), []).append(phase.kind)
    parts = (f"{_counted(found)}: {why}" for why, found in kinds.items())
    return f"backend {chosen.name}: " + "; ".join(parts)


def _counted(kinds: list[str]) -> str:
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
