"""Both passes of a call on its tensors: results and residuals, then gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rnnc.compiler.backends.backend import Residuals
from rnnc.compiler.backends.cpu.specialize.packed_sequence import PackedSequence, dense_sequence
from rnnc.compiler.backends.cpu.specialize.specialization_cache import SpecializationCache
from rnnc.compiler.calls.flattening import TensorKey
from rnnc.operators.semantics.call import Call, CallResult

from .executor import Executor
from .row_buffer import IncomingCotangents


def run_forward(
    specializations: SpecializationCache, call: Call, wrt: tuple[TensorKey, ...]
) -> tuple[CallResult, Residuals]:
    """Return the results of a call, and what its backward pass reads."""
    executor = Executor(specializations, call, _pack_call(call), adjoint=False)
    executor.forward()
    result = _collect_result(executor)
    residuals = Residuals()
    if wrt:
        context = (specializations, executor.sequence)
        residuals = Residuals(tuple(executor.residuals()), context=context)
    executor.release()
    return result, residuals


def run_backward(
    specializations: SpecializationCache,
    call: Call,
    wrt: tuple[TensorKey, ...],
    residuals: Residuals,
    cotangents: Mapping[TensorKey, Tensor | None],
) -> list[Tensor | None]:
    """Return the gradients of `wrt` in their order."""
    sequence = _pack_call(call) if residuals.context is None else residuals.context[1]
    executor = Executor(specializations, call, sequence, adjoint=True)
    executor.backward(residuals.tensors, IncomingCotangents(cotangents))
    gradients = executor.layout.flow.gradients
    value_ids: dict[TensorKey, int] = {(g.kind, g.name): g.value for g in gradients}
    arguments = {
        "parameter": call.parameters,
        "input": call.inputs,
        "history": call.carry,
        "initial": call.initial_values,
    }
    result = [
        executor.gradient(kind, value_ids.get((kind, name), -1), arguments[kind][name].shape, name)
        for kind, name in wrt
    ]
    executor.release()
    return result


def call_dtype(call: Call) -> torch.dtype:
    """Return the dtype that a call computes in."""
    for tensors in (call.parameters, call.initial_values, call.inputs):
        for tensor in tensors.values():
            if tensor.is_floating_point():
                return tensor.dtype
    return torch.float32


def _pack_call(call: Call) -> PackedSequence:
    if call.lengths is None and call.resets is None:
        return dense_sequence(call.steps, call.batch_size)
    return PackedSequence(call.steps, call.batch_size, call.lengths, call.resets)


def _collect_result(executor: Executor) -> CallResult:
    call, flow = executor.call, executor.layout.flow
    outputs = tuple(
        executor.last_step(operand) if output.at_end else executor.unpack(operand)
        for output, operand in zip(call.graph.outputs, flow.outputs, strict=True)
    )
    carry_out = {
        name: executor.carry_out(name)
        if carry.is_floating_point()
        else _carry_symbols(call, executor.sequence, name, carry)
        for name, carry in call.carry.items()
    }
    laws: Sequence[Tensor] = ()
    loss_inputs: Sequence[Tensor] = ()
    if call.training:
        laws = [executor.unpack(operand).squeeze(-1) for operand in flow.laws]
        loss_inputs = [executor.unpack(operand) for operand in flow.loss_inputs]
    return CallResult(outputs, carry_out, tuple(laws), tuple(loss_inputs))


def _carry_symbols(call: Call, sequence: PackedSequence, name: str, carry: Tensor) -> Tensor:
    """Return the carry of a series of symbols after the call, (k, B); −1 is no symbol."""
    packed = sequence.pack(call.inputs[name])
    boundary = packed.new_full((sequence.batch_size,), -1)
    buffer = torch.cat([sequence.sort_batch(carry, 1).reshape(-1), packed, boundary])
    rows = sequence.carry_rows(len(carry), "bounded") + len(carry) * sequence.batch_size
    return sequence.unsort_batch(buffer[rows], 1)
