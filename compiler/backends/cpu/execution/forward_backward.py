"""A program on one call's tensors: forward units, and backward units that read what those saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rnnc.compiler.backends.backend import Saved
from rnnc.compiler.backends.cpu.specialize.compiled_program import Program
from rnnc.compiler.backends.cpu.specialize.packed_sequence import Rows, dense_rows
from rnnc.compiler.calls.flattening import Key
from rnnc.operators.semantics.call import Call, Result

from .argument_binding import Seeds
from .executor import Execution


def run_forward(program: Program, call: Call, wanted: tuple[Key, ...]) -> tuple[Result, Saved]:
    """The results of a call, and the memory that its backward pass reads."""
    execution = Execution(program, call, _rows(call), adjoint=False)
    execution.forward()
    result = _result(execution)
    saved = Saved(tuple(execution.saved()), more=(program, execution.rows)) if wanted else Saved()
    execution.leave()
    return result, saved


def run_backward(
    program: Program,
    call: Call,
    wanted: tuple[Key, ...],
    saved: Saved,
    gradients: Mapping[Key, Tensor | None],
) -> list[Tensor | None]:
    """The gradients that are wanted."""
    rows = _rows(call) if saved.more is None else saved.more[1]
    execution = Execution(program, call, rows, adjoint=True)
    execution.backward(saved.tensors, Seeds(gradients))
    found: dict[Key, int] = {(g.kind, g.name): g.value for g in program.layout.flow.gradients}
    shapes = {
        "parameter": call.parameters,
        "input": call.inputs,
        "history": call.history,
        "initial": call.initial,
    }
    result = [
        execution.gradient(kind, found.get((kind, name), -1), shapes[kind][name].shape, name)
        for kind, name in wanted
    ]
    execution.leave()
    return result


def dtype_of(call: Call) -> torch.dtype:
    """The dtype that a call computes in."""
    for tensors in (call.parameters, call.initial, call.inputs):
        for tensor in tensors.values():
            if tensor.is_floating_point():
                return tensor.dtype
    return torch.float32


def _rows(call: Call) -> Rows:
    if call.lengths is None and call.resets is None:
        return dense_rows(call.steps, call.rows)
    return Rows(call.steps, call.rows, call.lengths, call.resets)


def _result(execution: Execution) -> Result:
    call, flow = execution.call, execution.layout.flow
    outputs = tuple(
        execution.at_end(read) if output.at_end else execution.spread(read)
        for output, read in zip(call.graph.outputs, flow.outputs, strict=True)
    )
    history = {
        name: execution.final(name)
        if before.is_floating_point()
        else _final_symbols(call, execution.rows, name, before)
        for name, before in call.history.items()
    }
    laws: Sequence[Tensor] = ()
    kept: Sequence[Tensor] = ()
    if call.training:
        laws = [execution.spread(read).squeeze(-1) for read in flow.laws]
        kept = [execution.spread(read) for read in flow.kept]
    return Result(outputs, history, tuple(laws), tuple(kept))


def _final_symbols(call: Call, rows: Rows, name: str, before: Tensor) -> Tensor:
    packed = rows.packed(call.inputs[name])
    nothing = packed.new_full((rows.rows,), -1)
    line = torch.cat([rows.sorted(before, 1).reshape(-1), packed, nothing])
    final = rows.final(len(before), "bounded") + len(before) * rows.rows
    return rows.unsorted(line[final], 1)
