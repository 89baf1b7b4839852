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
    tensors = [memory.buffers[value_id] for value_id in buffers]
    tensors += [memory.external[value_id][0] for value_id in values]
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
    count, *ids = residuals.metadata
    memory.buffers.update(zip(ids[:count], residuals.tensors[:count], strict=True))
    for value_id, tensor in zip(ids[count:], residuals.tensors[count:], strict=True):
        memory.bind(value_id, tensor)
    _bind_cotangents(memory, cotangents)
    engine.run_phases(plan.backward_phases, memory)
    gradient_values: dict[TensorKey, int] = {
        (g.kind, g.name): g.value for g in plan.dataflow.gradients
    }
    return [_extract_gradient(memory, key, gradient_values.get(key, -1)) for key in wrt]


def _unbuffered_residuals(plan: Plan) -> list[int]:
    """Return the ids of residuals without a buffer: values computed once a call."""
    return [value_id for value_id in plan.residuals if plan.dataflow.values[value_id].operands]


def _bind_cotangents(memory: AtenMemory, cotangents: Mapping[TensorKey, Tensor | None]) -> None:
    """Bind the cotangents of the results to the values that the plan reads them from."""
    plan, boundaries = memory.plan, memory.boundaries
    at_end_by_output = {output.name: output.at_end for output in plan.dataflow.graph.outputs}
    for value in plan.dataflow.values:
        if value.operation != "seed":
            continue
        kind, name = str(value.attributes[0]), str(value.attributes[1])
        cotangent = cotangents[kind, name]
        if kind == "history":
            if cotangent is not None:
                carry_cotangent, cotangent, initial_cotangent = boundaries.next_carry_vjp(cotangent)
                memory.carry_cotangents[name], memory.initial_cotangents[name] = (
                    carry_cotangent,
                    initial_cotangent,
                )
            else:
                zero = memory.like.new_zeros(())
                memory.carry_cotangents[name] = memory.initial_cotangents[name] = zero
        elif cotangent is not None:
            if kind == "law":
                cotangent = cotangent.unsqueeze(-1)
            at_end = kind == "output" and at_end_by_output[name]
            cotangent = (boundaries.last_step_vjp if at_end else boundaries.zero_padding)(cotangent)
        if cotangent is None:
            zeros = memory.like.new_zeros(1, 1, 1)
            cotangent = zeros.expand(memory.call.steps, memory.call.batch_size, value.shape[0])
        memory.bind(value.id, cotangent)


def _extract_gradient(memory: AtenMemory, key: TensorKey, value_id: int) -> Tensor | None:
    if value_id < 0:
        return None
    gradient = memory.series(value_id)
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
