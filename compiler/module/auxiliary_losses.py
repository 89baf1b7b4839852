"""`loss EXPR weight w`: the terms of a model's own, taken when the targets are known."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rnnc.compiler.backends.registry import Backends
from rnnc.compiler.calls.random_masks import masks
from rnnc.compiler.torch_integration.autograd_function import run
from rnnc.operators.graph.operator_graph import Input, OperatorGraph
from rnnc.operators.semantics.call import Call, Result

from .losses import check_range, check_target


def loss_terms(
    graph: OperatorGraph,
    backends: Backends,
    last: tuple[Call, Result] | None,
    targets: Mapping[str, Tensor],
) -> Tensor:
    """The weighted sum of the terms' means over the steps of the last call that kept their values.

    `targets` are (T, B, …) by the input's name: its next values.

    Raises:
        ValueError: when there was no such call, or a target is not one of it.
    """
    terms = graph.losses
    assert terms is not None
    if last is None:
        raise ValueError(
            "this model's loss has terms of its own: expected a call "
            + ("in training first" if graph.scored else "first")
        )
    call, result = last
    inner = terms.graph
    inputs: dict[str, Tensor] = {}
    for variable in inner.inputs:
        name = variable.name
        if name.startswith("kept "):
            inputs[name] = result.kept[int(name.removeprefix("kept "))]
        elif name.endswith("'"):
            inputs[name] = _next_value(variable, targets[name.rstrip("'")], call, result)
        else:
            inputs[name] = _looked_through(graph, name, call, result)
    like = next((value for value in inputs.values() if value.is_floating_point()), None)
    like = torch.empty(0, device=result.outputs[0].device) if like is None else like
    own = Call(
        graph=inner,
        parameters={p.name: call.parameters[p.name] for p in inner.parameters},
        inputs=inputs,
        history={v.name: _past(v, call, like) for v in inner.inputs if v.history},
        initial={},
        drawn={},
        masks=masks(inner, call.steps, call.rows, like) if call.training else {},
        lengths=call.lengths,
        resets=call.resets,
        training=call.training,
        steps=call.steps,
        rows=call.rows,
        age=call.age,
    )
    values = run(backends.choose(like), own).outputs
    total = values[0].new_zeros(())
    for weight, value in zip(terms.weights, values, strict=True):
        total = total + weight * mean_over_steps(value.squeeze(-1), call.lengths)
    return total


def _next_value(variable: Input, target: Tensor, call: Call, result: Result) -> Tensor:
    """A target as an input of the terms: nothing past a row's length, whatever it holds there."""
    kind, size = variable.type.kind, variable.type.size
    try:
        check_target(kind, target, (call.steps, call.rows, size))
        is_symbol = kind == "symbol"
        if call.lengths is not None:
            steps = torch.arange(call.steps, device=target.device).unsqueeze(-1)
            inside = steps < call.lengths
            target = torch.where(inside if is_symbol else inside.unsqueeze(-1), target, 0)
        if not torch.compiler.is_compiling():
            check_range(kind, target.clamp(min=0) if is_symbol else target, size)
    except ValueError as error:
        raise ValueError(f"target of {variable.name}: {error}") from None
    return target.long().clamp(min=-1) if is_symbol else target.to(result.outputs[0].dtype)


def _past(variable: Input, call: Call, like: Tensor) -> Tensor:
    """(k, B, n): what a window sees of a variable before the first step."""
    history = call.history.get(variable.name)
    if history is None:
        # A state that runs backward: no row of a window is there, whatever it holds.
        return like.new_zeros(variable.history, call.rows, variable.type.size)
    # The terms may look back less far than the model does.
    return history[-variable.history :]


def _looked_through(graph: OperatorGraph, name: str, call: Call, result: Result) -> Tensor:
    """All steps of a variable that a window looks through."""
    if name in call.inputs:
        return call.inputs[name]
    node = next(state.node for state in graph.states if state.name == name)
    at = next(i for i, o in enumerate(graph.kept) if (o.node, o.delay) == (node, 0))
    return result.kept[at]


def mean_over_steps(value: Tensor, lengths: Tensor | None) -> Tensor:
    """The mean of (T, B) over the steps that rows have."""
    if not value.numel():
        return value.sum()
    if lengths is None:
        return value.mean()
    alive = torch.arange(len(value), device=value.device).unsqueeze(-1) < lengths
    total = torch.where(alive, value, torch.zeros_like(value)).sum()
    return total / lengths.sum().clamp(min=1)
