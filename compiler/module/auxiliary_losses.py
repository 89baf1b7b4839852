"""Evaluate the `loss` terms of a spec (`loss EXPR weight w`) when the targets are known."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rnnc.compiler.backends.registry import Backends
from rnnc.compiler.calls.random_masks import draw_masks
from rnnc.compiler.torch_integration.autograd_function import run_with_autograd
from rnnc.operators.graph.operator_graph import Input, OperatorGraph
from rnnc.operators.semantics.call import Call, CallResult

from .loss_checks import check_range, check_target


def auxiliary_loss(
    graph: OperatorGraph,
    backends: Backends,
    last_call: tuple[Call, CallResult] | None,
    targets: Mapping[str, Tensor],
) -> Tensor:
    """Compute Σ weight · mean of the `loss` terms over the steps of the last call.

    `targets` are (T, B, …) by the input's name: its next values.

    Raises:
        ValueError: when there was no such call, or a target is not one of it.
    """
    terms = graph.loss_graph
    assert terms is not None
    if last_call is None:
        raise ValueError(
            "this model's loss has terms of its own: expected a call "
            + ("in training first" if graph.scored_outputs else "first")
        )
    call, result = last_call
    loss_graph = terms.graph
    inputs: dict[str, Tensor] = {}
    for variable in loss_graph.inputs:
        name = variable.name
        if name.startswith("kept "):
            inputs[name] = result.loss_inputs[int(name.removeprefix("kept "))]
        elif name.endswith("'"):
            inputs[name] = _target_as_input(variable, targets[name.rstrip("'")], call, result)
        else:
            inputs[name] = _window_source(graph, name, call, result)
    like = next((value for value in inputs.values() if value.is_floating_point()), None)
    like = torch.empty(0, device=result.outputs[0].device) if like is None else like
    loss_call = Call(
        graph=loss_graph,
        parameters={p.name: call.parameters[p.name] for p in loss_graph.parameters},
        inputs=inputs,
        carry={v.name: _window_carry(v, call, like) for v in loss_graph.inputs if v.max_delay},
        initial_values={},
        reset_values={},
        masks=draw_masks(loss_graph, call.steps, call.batch_size, like) if call.training else {},
        lengths=call.lengths,
        resets=call.resets,
        training=call.training,
        steps=call.steps,
        batch_size=call.batch_size,
        age=call.age,
    )
    values = run_with_autograd(backends.choose(like), loss_call).outputs
    total = values[0].new_zeros(())
    for weight, value in zip(terms.weights, values, strict=True):
        total = total + weight * mean_over_steps(value.squeeze(-1), call.lengths)
    return total


def _target_as_input(variable: Input, target: Tensor, call: Call, result: CallResult) -> Tensor:
    """Convert a target to an input of the terms, zero past each row's length."""
    kind, size = variable.type.kind, variable.type.size
    try:
        check_target(kind, target, (call.steps, call.batch_size, size))
        is_symbol = kind == "symbol"
        if call.lengths is not None:
            steps = torch.arange(call.steps, device=target.device).unsqueeze(-1)
            valid = steps < call.lengths
            target = torch.where(valid if is_symbol else valid.unsqueeze(-1), target, 0)
        if not torch.compiler.is_compiling():
            check_range(kind, target.clamp(min=0) if is_symbol else target, size)
    except ValueError as error:
        raise ValueError(f"target of {variable.name}: {error}") from None
    return target.long().clamp(min=-1) if is_symbol else target.to(result.outputs[0].dtype)


def _window_carry(variable: Input, call: Call, like: Tensor) -> Tensor:
    """Return (k, B, n): the rows of a variable before the first step that a window reads."""
    carry = call.carry.get(variable.name)
    if carry is None:
        # A state that runs backward has no carry; its window rows before the first step are masked.
        return like.new_zeros(variable.max_delay, call.batch_size, variable.type.size)
    # Windows of the terms may be shorter than those of the model.
    return carry[-variable.max_delay :]


def _window_source(graph: OperatorGraph, name: str, call: Call, result: CallResult) -> Tensor:
    """Return all steps of a variable that a window reads."""
    if name in call.inputs:
        return call.inputs[name]
    node = next(state.node for state in graph.states if state.name == name)
    index = next(i for i, o in enumerate(graph.loss_inputs) if (o.node, o.delay) == (node, 0))
    return result.loss_inputs[index]


def mean_over_steps(value: Tensor, lengths: Tensor | None) -> Tensor:
    """Compute the mean of (T, B) over all steps within the lengths."""
    if not value.numel():
        return value.sum()
    if lengths is None:
        return value.mean()
    valid = torch.arange(len(value), device=value.device).unsqueeze(-1) < lengths
    total = torch.where(valid, value, torch.zeros_like(value)).sum()
    return total / lengths.sum().clamp(min=1)
