"""A plan on one call's tensors: forward phases, and backward phases that read what those saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from rnnc.compiler.backends.backend import Saved
from rnnc.compiler.calls.flattening import Key
from rnnc.compiler.schedule.plan import Plan
from rnnc.operators.semantics.call import Call, Result

from .buffers import Memory
from .interpreter import AtenEngine, Engine, collected

ATEN: Final = AtenEngine()


def run_forward(
    plan: Plan, call: Call, wanted: tuple[Key, ...], engine: Engine = ATEN
) -> tuple[Result, Saved]:
    """The results of a call, and the buffers and values that its backward pass reads.

    An engine computes the phases. What is saved has these notes: how many tensors are buffers, then
    the numbers of buffers and values.
    """
    memory = engine.prepared(plan, call)
    engine.run_phases(plan.forward, memory)
    result = collected(memory)
    if not wanted:
        return result, Saved()
    buffers = [b.number for b in plan.buffers if b.saved and b.number in memory.buffers]
    values = [n for n in _values(plan) if n in memory.given]
    tensors = [memory.buffers[number] for number in buffers]
    tensors += [memory.given[number][0] for number in values]
    return result, Saved(tuple(tensors), (len(buffers), *buffers, *values), plan)


def most_saved(plan: Plan) -> int:
    """How many tensors a forward pass saves at most."""
    return sum(buffer.saved for buffer in plan.buffers) + len(_values(plan))


def run_backward(
    plan: Plan,
    call: Call,
    wanted: tuple[Key, ...],
    saved: Saved,
    gradients: Mapping[Key, Tensor | None],
    engine: Engine = ATEN,
) -> list[Tensor | None]:
    """The gradients that are wanted."""
    memory = engine.prepared(plan, call)
    count, *numbers = saved.notes
    memory.buffers.update(zip(numbers[:count], saved.tensors[:count], strict=True))
    for number, tensor in zip(numbers[count:], saved.tensors[count:], strict=True):
        memory.put(number, tensor)
    _seed(memory, gradients)
    engine.run_phases(plan.backward, memory)
    found: dict[Key, int] = {(g.kind, g.name): g.value for g in plan.flow.gradients}
    return [_gradient(memory, key, found.get(key, -1)) for key in wanted]


def _values(plan: Plan) -> list[int]:
    """What is saved and lies in no buffer: values that are computed once a call."""
    return [number for number in plan.saved if plan.flow.values[number].operands]


def _seed(memory: Memory, gradients: Mapping[Key, Tensor | None]) -> None:
    """Put the gradients that come in where the plan reads them."""
    plan, boundaries = memory.plan, memory.boundaries
    ends = {output.name: output.at_end for output in plan.flow.graph.outputs}
    for value in plan.flow.values:
        if value.operation != "seed":
            continue
        kind, name = str(value.attributes[0]), str(value.attributes[1])
        gradient = gradients[kind, name]
        if kind == "history":
            if gradient is not None:
                early, gradient, replaced = boundaries.before_history(gradient)
                memory.early[name], memory.replaced[name] = early, replaced
            else:
                zero = memory.like.new_zeros(())
                memory.early[name] = memory.replaced[name] = zero
        elif gradient is not None:
            if kind == "law":
                gradient = gradient.unsqueeze(-1)
            at_end = kind == "output" and ends[name]
            gradient = (boundaries.before_last if at_end else boundaries.shown)(gradient)
        if gradient is None:
            zeros = memory.like.new_zeros(1, 1, 1)
            gradient = zeros.expand(memory.call.steps, memory.call.rows, value.shape[0])
        memory.put(value.number, gradient)


def _gradient(memory: Memory, key: Key, number: int) -> Tensor | None:
    if number < 0:
        return None
    gradient = memory.now(number)
    kind, name = key
    call = memory.call
    match kind:
        case "parameter":
            shape = call.parameters[name].shape
        case "input":
            gradient, shape = memory.boundaries.shown(gradient), call.inputs[name].shape
        case "history":
            shape = call.history[name].shape
        case _:
            shape = call.initial[name].shape
    return gradient.expand(shape).to(memory.like.dtype).contiguous()
