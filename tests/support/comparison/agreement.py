"""Run a model on any backend, and compare outputs, states, laws, losses and gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import rnnc
from support.comparison.assertions import assert_close, weighted_sum
from support.faults.poisoned_memory import poison_memory

from . import random_arguments


@poison_memory()
def compute_results(
    text: str, backend: str, *, seed: int, steps: int, rows: int, sizes: Any = None, **options: Any
) -> dict[str, Any]:
    """Run one training step in float64; return values by name, gradients of all real tensors.

    Memory is poisoned with NaN during forward and backward passes (`faults/poisoned_memory.py`).

    said: `ragged`, `reset`, `carry` as in `random_arguments`; `training`; the rest goes to the
    compiler.
    """
    flags = {k: bool(options.pop(k, False)) for k in ("ragged", "reset", "carry")}
    training = options.pop("training", True)
    torch.manual_seed(seed)
    model = rnnc.compile(text, backend=backend, parameters=sizes or {}, **options).double()
    random_arguments.randomize_parameters(model, seed).train(training)
    feed = random_arguments.feed(model, steps, rows, seed=seed, **flags)
    sources = [(f"input {k}", v) for k, v in feed.inputs.items() if v.is_floating_point()]
    if feed.state is not None:
        sources += [
            (f"state {k}", v) for k, v in feed.state._asdict().items() if v.is_floating_point()
        ]
    for _, tensor in sources:
        tensor.requires_grad_()
    y, state = feed.call(model)
    laws = tuple(model._laws)
    losses: tuple[Tensor, ...] = ()
    if training and model.graph.loss_graph is not None:
        losses = (
            model.loss(
                y, random_arguments.random_targets(model, y, seed=seed), lengths=feed.lengths
            ),
        )
    sources += [(k, p) for k, p in model.named_parameters() if p.requires_grad]
    score = weighted_sum((y if isinstance(y, tuple) else (y,), state, laws, losses), seed)
    gradients: tuple[Tensor | None, ...] = (None,) * len(sources)
    if score.requires_grad:
        gradients = torch.autograd.grad(score, [t for _, t in sources], allow_unused=True)
    return {
        "outputs": tuple(y) if isinstance(y, tuple) else (y,),
        "state": None if state is None else tuple(state),
        "laws": laws,
        "losses": losses,
        "gradients": {
            name: torch.zeros_like(tensor) if gradient is None else gradient
            for (name, tensor), gradient in zip(sources, gradients, strict=True)
        },
    }


def assert_agree(
    text: str, backend: str = "aten", *, tolerance: float = 1e-9, **arguments: Any
) -> None:
    """Assert that a backend agrees with the reference, in values and gradients."""
    options = {k: arguments.pop(k) for k in ("memory", "without", "require") if k in arguments}
    results = compute_results(text, backend, **arguments, **options)
    assert_close(results, compute_results(text, "reference", **arguments), tolerance, backend)
