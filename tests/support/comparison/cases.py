"""One case: a spec and a call, on a backend; held against the reference, or a second oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

import rnnc
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from support.comparison.assertions import assert_close, total
from support.comparison.oracle_check import assert_second_opinion, leaves_to_chance
from support.faults.poisoned_memory import poisoned
from support.generator.calls import Calling
from support.second_oracle import Unsupported

from . import random_arguments

TOLERANCE = 1e-9


def compiled(
    text: str, backend: str, calling: Calling, sizes: Mapping[str, int], **options: Any
) -> CompiledRNN:
    """A model with parameters drawn anew, in float64."""
    torch.manual_seed(calling.seed)
    model = rnnc.compile(
        text, backend=backend, parameters=sizes, batch_first=calling.batch_first, **options
    )
    return random_arguments.randomise(model.double(), calling.seed).train(calling.training)


def fed(model: CompiledRNN, calling: Calling) -> random_arguments.Feed:
    """What a call gives to a model, its state aside."""
    steps, rows, seed = calling.steps, calling.rows, calling.seed
    dtype = next((p.dtype for p in model.parameters()), torch.float64)
    x = random_arguments.inputs(model.graph, steps, rows, seed=seed, dtype=dtype)
    x = {name: laid(value, calling.layout) for name, value in x.items()}
    lengths, resets = None, None
    if calling.lengths != "none":
        lengths = torch.full((rows,), steps)
        if calling.lengths == "ragged":
            lengths = random_arguments.lengths(steps, rows, seed=seed)
    if calling.resets != "none":
        resets = random_arguments.resets(steps, rows, seed=seed) & (calling.resets == "some")
    return random_arguments.Feed(x, None, lengths, resets)


def laid(value: Tensor, layout: str) -> Tensor:
    """The same numbers, lying in memory in another way (`expanded`: those of the first row)."""
    match layout:
        case "transposed":
            return value.transpose(0, 1).contiguous().transpose(0, 1)
        case "strided":
            return torch.stack([value, value], -1)[..., 0]
        case "offset":
            wide = torch.zeros(value.shape[0] + 2, *value.shape[1:], dtype=value.dtype)
            wide[1:-1] = value
            return wide[1:-1]
        case "expanded":
            return value[:, :1].expand(value.shape)
        case _:
            return value


def state_for(model: CompiledRNN, calling: Calling) -> Any:
    """What a call goes on from; None for a model that runs backward."""
    if calling.state == "none" or model.runs_backward:
        return None
    if calling.state == "initial":
        torch.manual_seed(calling.seed + 3)
        return model.initial_state(calling.rows)
    if calling.state == "random":
        return random_arguments.state(model, calling.rows, seed=calling.seed)
    torch.manual_seed(calling.seed + 2)
    earlier = replace(calling, seed=calling.seed + 17, steps=3, layout="plain", resets="none")
    given = fed(model, earlier)
    return turned(model, given, calling).call(model)[1]


def turned(
    model: CompiledRNN, feed: random_arguments.Feed, calling: Calling
) -> random_arguments.Feed:
    """The same feed as `batch_first` wants it."""
    if not calling.batch_first:
        return feed
    resets = None if feed.resets is None else feed.resets.transpose(0, 1)
    x = {name: value.transpose(0, 1) for name, value in feed.x.items()}
    return random_arguments.Feed(x, feed.state, feed.lengths, resets)


@poisoned()
def answer(model: CompiledRNN, calling: Calling, *, whole: bool = False) -> dict[str, Any]:
    """All that a call gives: outputs, state, laws, losses, gradients of all that is real.

    whole: make a call in one, even where it says step by step.
    """
    feed = fed(model, calling)
    sources = {f"input {k}": v for k, v in feed.x.items() if v.is_floating_point()}
    if calling.scored == "parameters":
        sources = {}
    for name, tensor in sources.items():
        sources[name] = tensor.detach().requires_grad_()
        feed.x[name.removeprefix("input ")] = sources[name]
    feed.state = state_for(model, calling)
    if feed.state is not None:
        fields = [
            v.detach().clone().requires_grad_()
            if v.is_floating_point() and calling.state != "carried"
            else v
            for v in feed.state
        ]
        feed.state = type(feed.state)(*fields)
        if calling.state != "carried":  # through which gradients reach the parameters
            sources |= {
                f"state {k}": v for k, v in feed.state._asdict().items() if v.is_floating_point()
            }
    torch.manual_seed(calling.seed + 1)
    if calling.scored == "none":
        with torch.no_grad():
            _called(model, feed, calling, whole=whole)
            torch.manual_seed(calling.seed + 1)
            return _values(*_called(model, feed, calling, whole=whole))
    y, state = _called(model, feed, calling, whole=whole)
    laws = () if calling.stepwise else tuple(model._laws)
    losses: tuple[Tensor, ...] = ()
    if calling.training and model.graph.losses is not None:
        aims = random_arguments.targets(model, y, seed=calling.seed)
        losses = (model.loss(y, aims, lengths=feed.lengths),)
    found = _values(y, state, laws, losses)
    sources |= {k: p for k, p in model.named_parameters() if p.requires_grad}
    chosen: tuple[Any, ...] = (found["outputs"], found["state"], laws, losses)
    chosen = {"outputs": chosen[:1], "state": chosen[1:2]}.get(calling.scored, chosen)
    score = total(chosen, calling.seed)
    gradients: tuple[Tensor | None, ...] = (None,) * len(sources)
    if score.requires_grad:
        gradients = torch.autograd.grad(score, list(sources.values()), allow_unused=True)
    found["gradients"] = {
        name: torch.zeros_like(tensor) if gradient is None else gradient
        for (name, tensor), gradient in zip(sources.items(), gradients, strict=True)
    }
    return found


def _values(y: Any, state: Any, laws: Any = (), losses: Any = ()) -> dict[str, Any]:
    return {
        "outputs": tuple(y) if isinstance(y, tuple) else (y,),
        "state": None if state is None else tuple(state),
        "laws": laws,
        "losses": losses,
    }


def _called(
    model: CompiledRNN, feed: random_arguments.Feed, calling: Calling, *, whole: bool
) -> tuple[Any, Any]:
    """A whole call, or one step after the other."""
    if not can_step(model, calling):
        return turned(model, feed, calling).call(model)  # type: ignore[no-any-return]
    state, found = feed.state, []
    if state is None:
        torch.manual_seed(calling.seed + 3)
        state = model.initial_state(calling.rows)
    if whole:
        feed.state = state
        return turned(model, feed, calling).call(model)  # type: ignore[no-any-return]
    for t in range(calling.steps):
        y, state = model.step({name: value[t] for name, value in feed.x.items()}, state)
        found.append(y if isinstance(y, tuple) else (y,))
    axis = 1 if calling.batch_first else 0
    ys = tuple(torch.stack(parts, axis) for parts in zip(*found, strict=True))
    return (ys if len(ys) > 1 else ys[0]), state


def can_step(model: CompiledRNN, calling: Calling) -> bool:
    """Whether a call is made step by step."""
    ends = any(output.at_end for output in model.graph.outputs)
    return calling.stepwise and calling.steps > 0 and not (ends or model.runs_backward)


def assert_case(
    text: str,
    calling: Calling,
    backend: str,
    *,
    sizes: Mapping[str, int] | None = None,
    tolerance: float = TOLERANCE,
    **options: Any,
) -> None:
    """A backend gives in a call what the reference gives, which is itself held to the `oracle`.

    Raises:
        AssertionError: where it does not; and whatever else went wrong.
    """
    if backend == "oracle":
        calling = replace(calling, batch_first=False, layout="plain")
        hold_to_oracle(compiled(text, "reference", calling, sizes or {}), calling)
        return
    ours = answer(compiled(text, backend, calling, sizes or {}, **options), calling)
    right = answer(compiled(text, "reference", calling, sizes or {}), calling, whole=True)
    assert_close(ours, right, tolerance, backend)


def hold_to_oracle(model: CompiledRNN, calling: Calling) -> bool:
    """Whether the second oracle could say what a call gives, which is then held."""
    if leaves_to_chance(model):
        model.eval()
    feed = fed(model, calling)
    drawn = any(state.initial.kind == "uniform" for state in model.graph.states)
    chosen = replace(calling, state="initial") if drawn and calling.state == "none" else calling
    with torch.no_grad():
        feed.state = state_for(model, chosen)
    if feed.state is not None:
        feed.state = type(feed.state)(*(value.clone() for value in feed.state))
    try:
        assert_second_opinion(model, feed, seed=calling.seed)
    except Unsupported as refused:
        if "drawn initial value" not in str(refused):
            raise
        return False
    return True
