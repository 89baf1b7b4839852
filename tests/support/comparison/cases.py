"""Run one call of a spec on a backend, and compare with the reference or second oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

import rnnc
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from support.comparison.assertions import assert_close, weighted_sum
from support.comparison.oracle_check import assert_matches_oracle, is_random
from support.faults.poisoned_memory import poison_memory
from support.generator.calls import CallConfig
from support.second_oracle import Unsupported

from . import random_arguments

TOLERANCE = 1e-9


def compile_case(
    text: str, backend: str, call: CallConfig, sizes: Mapping[str, int], **options: Any
) -> CompiledRNN:
    """Compile a model with random parameters in float64."""
    torch.manual_seed(call.seed)
    model = rnnc.compile(
        text, backend=backend, parameters=sizes, batch_first=call.batch_first, **options
    )
    return random_arguments.randomize_parameters(model.double(), call.seed).train(call.training)


def make_arguments(model: CompiledRNN, call: CallConfig) -> random_arguments.CallArguments:
    """Draw a call's arguments, without its state."""
    steps, rows, seed = call.steps, call.rows, call.seed
    dtype = next((p.dtype for p in model.parameters()), torch.float64)
    x = random_arguments.random_inputs(model.graph, steps, rows, seed=seed, dtype=dtype)
    x = {name: apply_layout(value, call.layout) for name, value in x.items()}
    lengths, resets = None, None
    if call.lengths != "none":
        lengths = torch.full((rows,), steps)
        if call.lengths == "ragged":
            lengths = random_arguments.random_lengths(steps, rows, seed=seed)
    if call.resets != "none":
        resets = random_arguments.random_resets(steps, rows, seed=seed) & (call.resets == "some")
    return random_arguments.CallArguments(x, None, lengths, resets)


def apply_layout(value: Tensor, layout: str) -> Tensor:
    """Copy a tensor to another memory layout (`expanded` repeats the first row)."""
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


def make_state(model: CompiledRNN, call: CallConfig) -> Any:
    """Return the state that a call starts from; None for a backward model."""
    if call.state == "none" or model.runs_backward:
        return None
    if call.state == "initial":
        torch.manual_seed(call.seed + 3)
        return model.initial_state(call.rows)
    if call.state == "random":
        return random_arguments.random_state(model, call.rows, seed=call.seed)
    torch.manual_seed(call.seed + 2)
    earlier = replace(call, seed=call.seed + 17, steps=3, layout="plain", resets="none")
    arguments = make_arguments(model, earlier)
    return to_batch_first(model, arguments, call).call(model)[1]


def to_batch_first(
    model: CompiledRNN, feed: random_arguments.CallArguments, call: CallConfig
) -> random_arguments.CallArguments:
    """Transpose the arguments for `batch_first`."""
    if not call.batch_first:
        return feed
    resets = None if feed.resets is None else feed.resets.transpose(0, 1)
    x = {name: value.transpose(0, 1) for name, value in feed.inputs.items()}
    return random_arguments.CallArguments(x, feed.state, feed.lengths, resets)


@poison_memory()
def compute_result(model: CompiledRNN, call: CallConfig, *, whole: bool = False) -> dict[str, Any]:
    """Return all results of a call: outputs, state, laws, losses, gradients of real tensors.

    whole: make one call, even if the call is configured as stepwise.
    """
    feed = make_arguments(model, call)
    sources = {f"input {k}": v for k, v in feed.inputs.items() if v.is_floating_point()}
    if call.scored == "parameters":
        sources = {}
    for name, tensor in sources.items():
        sources[name] = tensor.detach().requires_grad_()
        feed.inputs[name.removeprefix("input ")] = sources[name]
    feed.state = make_state(model, call)
    if feed.state is not None:
        fields = [
            v.detach().clone().requires_grad_()
            if v.is_floating_point() and call.state != "carried"
            else v
            for v in feed.state
        ]
        feed.state = type(feed.state)(*fields)
        if call.state != "carried":  # through which gradients reach the parameters
            sources |= {
                f"state {k}": v for k, v in feed.state._asdict().items() if v.is_floating_point()
            }
    torch.manual_seed(call.seed + 1)
    if call.scored == "none":
        with torch.no_grad():
            _run_model(model, feed, call, whole=whole)
            torch.manual_seed(call.seed + 1)
            return _collect_values(*_run_model(model, feed, call, whole=whole))
    y, state = _run_model(model, feed, call, whole=whole)
    laws = () if call.stepwise else tuple(model._laws)
    losses: tuple[Tensor, ...] = ()
    if call.training and model.graph.loss_graph is not None:
        targets = random_arguments.random_targets(model, y, seed=call.seed)
        losses = (model.loss(y, targets, lengths=feed.lengths),)
    results = _collect_values(y, state, laws, losses)
    sources |= {k: p for k, p in model.named_parameters() if p.requires_grad}
    chosen: tuple[Any, ...] = (results["outputs"], results["state"], laws, losses)
    chosen = {"outputs": chosen[:1], "state": chosen[1:2]}.get(call.scored, chosen)
    score = weighted_sum(chosen, call.seed)
    gradients: tuple[Tensor | None, ...] = (None,) * len(sources)
    if score.requires_grad:
        gradients = torch.autograd.grad(score, list(sources.values()), allow_unused=True)
    results["gradients"] = {
        name: torch.zeros_like(tensor) if gradient is None else gradient
        for (name, tensor), gradient in zip(sources.items(), gradients, strict=True)
    }
    return results


def _collect_values(y: Any, state: Any, laws: Any = (), losses: Any = ()) -> dict[str, Any]:
    return {
        "outputs": tuple(y) if isinstance(y, tuple) else (y,),
        "state": None if state is None else tuple(state),
        "laws": laws,
        "losses": losses,
    }


def _run_model(
    model: CompiledRNN, feed: random_arguments.CallArguments, call: CallConfig, *, whole: bool
) -> tuple[Any, Any]:
    """Run a whole call, or one step after the other."""
    if not can_step(model, call):
        return to_batch_first(model, feed, call).call(model)  # type: ignore[no-any-return]
    state, outputs = feed.state, []
    if state is None:
        torch.manual_seed(call.seed + 3)
        state = model.initial_state(call.rows)
    if whole:
        feed.state = state
        return to_batch_first(model, feed, call).call(model)  # type: ignore[no-any-return]
    for t in range(call.steps):
        y, state = model.step({name: value[t] for name, value in feed.inputs.items()}, state)
        outputs.append(y if isinstance(y, tuple) else (y,))
    axis = 1 if call.batch_first else 0
    ys = tuple(torch.stack(parts, axis) for parts in zip(*outputs, strict=True))
    return (ys if len(ys) > 1 else ys[0]), state


def can_step(model: CompiledRNN, call: CallConfig) -> bool:
    """Test that a call runs step by step."""
    ends = any(output.at_end for output in model.graph.outputs)
    return call.stepwise and call.steps > 0 and not (ends or model.runs_backward)


def assert_call_agrees(
    text: str,
    call: CallConfig,
    backend: str,
    *,
    sizes: Mapping[str, int] | None = None,
    tolerance: float = TOLERANCE,
    **options: Any,
) -> None:
    """Assert that a backend agrees with the reference, or the reference with the `oracle`.

    Raises:
        AssertionError: if it does not; other exceptions pass through.
    """
    if backend == "oracle":
        call = replace(call, batch_first=False, layout="plain")
        check_against_oracle(compile_case(text, "reference", call, sizes or {}), call)
        return
    actual = compute_result(compile_case(text, backend, call, sizes or {}, **options), call)
    expected = compute_result(compile_case(text, "reference", call, sizes or {}), call, whole=True)
    assert_close(actual, expected, tolerance, backend)


def check_against_oracle(model: CompiledRNN, call: CallConfig) -> bool:
    """Check a call against the second oracle; return False if that does not support it."""
    if is_random(model):
        model.eval()
    feed = make_arguments(model, call)
    is_drawn = any(state.initial_value.kind == "uniform" for state in model.graph.states)
    chosen = replace(call, state="initial") if is_drawn and call.state == "none" else call
    with torch.no_grad():
        feed.state = make_state(model, chosen)
    if feed.state is not None:
        feed.state = type(feed.state)(*(value.clone() for value in feed.state))
    try:
        assert_matches_oracle(model, feed, seed=call.seed)
    except Unsupported as error:
        if "drawn initial value" not in str(error):
            raise
        return False
    return True
