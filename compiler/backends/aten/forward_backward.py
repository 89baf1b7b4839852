"""Run the forward and backward pass of one plan on the tensors of one call.

The forward pass returns residuals (buffers and per-call values); the backward pass takes them with
the cotangents of the results and returns gradients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from rnnc.compiler.backends.backend import Residuals
from rnnc.compiler.calls.flattening import TensorKey
from rnnc.compiler.schedule.plan import Plan
from rnnc.operators.semantics.call import Call, CallResult

from .buffers import AtenMemory
from .interpreter import AtenEngine, Engine, collect_result

ATEN_ENGINE: Final = AtenEngine()


def run_forward(
    plan: Plan, call: Call, wrt: tuple[TensorKey, ...], engine: Engine = ATEN_ENGINE
) -> tuple[CallResult, Residuals]:
    """Run the forward phases and return the result with its residuals.

    The metadata of the residuals: how many tensors are buffers, then the ids of the buffers and of
    the per-call values.
    """
    memory = engine.create_buffers(plan, call)
    engine.run_phases(plan.forward_phases, memory)
    result = collect_result(memory)
    if not wrt:
        return result, Residuals()
    buffers = [b.id for b in plan.buffers if b.is_residual and b.id in memory.buffers]
    values = [n for n in _unbuffered_residuals(plan) if n in memory.external]
    tensors = [memory.buffers[number] for number in buffers]
    tensors += [memory.external[number][0] for number in values]
    return result, Residuals(tuple(tensors), (len(buffers), *buffers, *values), plan)


def residual_count(plan: Plan) -> int:
    """Return the largest number of tensors that a forward pass saves."""
    return sum(buffer.is_residual for buffer in plan.buffers) + len(_unbuffered_residuals(plan))


def run_backward(
    plan: Plan,
    call: Call,
    wrt: tuple[TensorKey, ...],
    residuals: Residuals,
    cotangents: Mapping[TensorKey, Tensor | None],
    engine: Engine = ATEN_ENGINE,
) -> list[Tensor | None]:
    """Run the backward phases and return one gradient per key of `wrt`; None is zero."""
    memory = engine.create_buffers(plan, call)
    count, *numbers = residuals.metadata
    memory.buffers.update(zip(numbers[:count], residuals.tensors[:count], strict=True))
    for number, tensor in zip(numbers[count:], residuals.tensors[count:], strict=True):
        memory.bind(number, tensor)
    _bind_cotangents(memory, cotangents)
    engine.run_phases(plan.backward_phases, memory)
    found: dict[TensorKey, int] = {(g.kind, g.name): g.value for g in plan.dataflow.gradients}
    return [_extract_gradient(memory, key, found.get(key, -1)) for key in wrt]


def _unbuffered_residuals(plan: Plan) -> list[int]:
    """Return the ids of residuals without a buffer: values computed once a call."""
    return [number for number in plan.residuals if plan.dataflow.values[number].operands]


def _bind_cotangents(memory: AtenMemory, cotangents: Mapping[TensorKey, Tensor | None]) -> None:
    """Bind the cotangents of the results to the values that the plan reads them from."""
    plan, boundaries = memory.plan, memory.boundaries
    ends = {output.name: output.at_end for output in plan.dataflow.graph.outputs}
    for value in plan.dataflow.values:
        if value.operation != "seed":
            continue
        kind, name = str(value.attributes[0]), str(value.attributes[1])
        gradient = cotangents[kind, name]
        if kind == "history":
            if gradient is not None:
                early, gradient, replaced = boundaries.next_carry_vjp(gradient)
                memory.carry_cotangents[name], memory.initial_cotangents[name] = early, replaced
            else:
                zero = memory.like.new_zeros(())
                memory.carry_cotangents[name] = memory.initial_cotangents[name] = zero
        elif gradient is not None:
            if kind == "law":
                gradient = gradient.unsqueeze(-1)
            at_end = kind == "output" and ends[name]
            gradient = (boundaries.last_step_vjp if at_end else boundaries.zero_padding)(gradient)
        if gradient is None:
            zeros = memory.like.new_zeros(1, 1, 1)
            gradient = zeros.expand(memory.call.steps, memory.call.batch_size, value.shape[0])
        memory.bind(value.id, gradient)


def _extract_gradient(memory: AtenMemory, key: TensorKey, number: int) -> Tensor | None:
    if number < 0:
        return None
    gradient = memory.series(number)
    kind, name = key
    call = memory.call
    match kind:
        case "parameter":
            shape = call.parameters[name].shape
        case "input":
            gradient, shape = memory.boundaries.zero_padding(gradient), call.inputs[name].shape
        case "history":
            shape = call.carry[name].shape
        case _:
            shape = call.initial_values[name].shape
    return gradient.expand(shape).to(memory.like.dtype).contiguous()
