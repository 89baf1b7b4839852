"""Everything that a model computes, on any backend: outputs, states, laws, losses, gradients."""

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
    text: str, backend: str, *, seed: int, steps: int, rows: int, sizes: Any = None, **said: Any
) -> dict[str, Any]:
    """One training step in float64: values by what they are, gradients of all that is real.

    Forward and backward passes find memory that holds no numbers (`poison.py`).

    said: `ragged`, `reset`, `carry` as in `feeds.feed`; `training`; all else goes to the compiler.
    """
    flags = {k: bool(said.pop(k, False)) for k in ("ragged", "reset", "carry")}
    training = said.pop("training", True)
    torch.manual_seed(seed)
    model = rnnc.compile(text, backend=backend, parameters=sizes or {}, **said).double()
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
    found: tuple[Tensor | None, ...] = (None,) * len(sources)
    if score.requires_grad:
        found = torch.autograd.grad(score, [t for _, t in sources], allow_unused=True)
    return {
        "outputs": tuple(y) if isinstance(y, tuple) else (y,),
        "state": None if state is None else tuple(state),
        "laws": laws,
        "losses": losses,
        "gradients": {
            name: torch.zeros_like(tensor) if gradient is None else gradient
            for (name, tensor), gradient in zip(sources, found, strict=True)
        },
    }


def assert_agree(text: str, backend: str = "aten", *, tolerance: float = 1e-9, **said: Any) -> None:
    """A backend agrees with the reference, in values and gradients."""
    options = {k: said.pop(k) for k in ("memory", "without", "require") if k in said}
    ours = compute_results(text, backend, **said, **options)
    assert_close(ours, compute_results(text, "reference", **said), tolerance, backend)
