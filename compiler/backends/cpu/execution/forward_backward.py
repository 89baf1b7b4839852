"""A program on one call's tensors: forward units, and backward units that read what those saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rnnc.compiler.backends.backend import Residuals
from rnnc.compiler.backends.cpu.specialize.compiled_program import CompiledProgram
from rnnc.compiler.backends.cpu.specialize.packed_sequence import PackedSequence, dense_sequence
from rnnc.compiler.calls.flattening import TensorKey
from rnnc.operators.semantics.call import Call, CallResult

from .argument_binding import IncomingCotangents
from .executor import Executor


def run_forward(
    program: CompiledProgram, call: Call, wrt: tuple[TensorKey, ...]
) -> tuple[CallResult, Residuals]:
    """The results of a call, and the memory that its backward pass reads."""
    execution = Executor(program, call, _pack_call(call), adjoint=False)
    execution.forward()
    result = _collect_result(execution)
    saved = (
        Residuals(tuple(execution.residuals()), context=(program, execution.sequence))
        if wrt
        else Residuals()
    )
    execution.release()
    return result, saved


def run_backward(
    program: CompiledProgram,
    call: Call,
    wrt: tuple[TensorKey, ...],
    saved: Residuals,
    gradients: Mapping[TensorKey, Tensor | None],
) -> list[Tensor | None]:
    """The gradients that are wanted."""
    rows = _pack_call(call) if saved.context is None else saved.context[1]
    execution = Executor(program, call, rows, adjoint=True)
    execution.backward(saved.tensors, IncomingCotangents(gradients))
    found: dict[TensorKey, int] = {(g.kind, g.name): g.value for g in program.layout.flow.gradients}
    shapes = {
        "parameter": call.parameters,
        "input": call.inputs,
        "history": call.carry,
        "initial": call.initial_values,
    }
    result = [
        execution.gradient(kind, found.get((kind, name), -1), shapes[kind][name].shape, name)
        for kind, name in wrt
    ]
    execution.release()
    return result


def call_dtype(call: Call) -> torch.dtype:
    """The dtype that a call computes in."""
    for tensors in (call.parameters, call.initial_values, call.inputs):
        for tensor in tensors.values():
            if tensor.is_floating_point():
                return tensor.dtype
    return torch.float32


def _pack_call(call: Call) -> PackedSequence:
    if call.lengths is None and call.resets is None:
        return dense_sequence(call.steps, call.batch_size)
    return PackedSequence(call.steps, call.batch_size, call.lengths, call.resets)


def _collect_result(execution: Executor) -> CallResult:
    call, flow = execution.call, execution.layout.flow
    outputs = tuple(
        execution.last_step(read) if output.at_end else execution.unpack(read)
        for output, read in zip(call.graph.outputs, flow.outputs, strict=True)
    )
    history = {
        name: execution.carry_out(name)
        if before.is_floating_point()
        else _carry_symbols(call, execution.sequence, name, before)
        for name, before in call.carry.items()
    }
    laws: Sequence[Tensor] = ()
    kept: Sequence[Tensor] = ()
    if call.training:
        laws = [execution.unpack(read).squeeze(-1) for read in flow.laws]
        kept = [execution.unpack(read) for read in flow.loss_inputs]
    return CallResult(outputs, history, tuple(laws), tuple(kept))


def _carry_symbols(call: Call, rows: PackedSequence, name: str, before: Tensor) -> Tensor:
    packed = rows.pack(call.inputs[name])
    nothing = packed.new_full((rows.batch_size,), -1)
    line = torch.cat([rows.sort_batch(before, 1).reshape(-1), packed, nothing])
    final = rows.carry_rows(len(before), "bounded") + len(before) * rows.batch_size
    return rows.unsort_batch(line[final], 1)
