"""A program inside of autograd: forward units, and backward units that read what those saved."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ....operators.call import Call, Result
from ...flow import Read
from ..twice import call_with, differentiable_gradients
from .bindings import Seeds
from .execution import Execution
from .program import Program
from .rows import Rows, dense_rows

if TYPE_CHECKING:
    from .backend import Cpu


def run(backend: Cpu, call: Call) -> Result:
    """All outputs, the final history, the laws and what `loss` terms need of one call."""
    leaves = _leaves(call)
    wanted: tuple[tuple[str, str], ...] = ()
    if torch.is_grad_enabled():
        wanted = tuple(key for key, tensor in leaves if tensor.requires_grad)
    request = backend.request(training=call.training, gradients=wanted)
    double = _dtype(call) == torch.float64
    program = backend.program(request, double=double)
    if wanted:
        keys = tuple(key for key, _ in leaves)
        tensors = [tensor for _, tensor in leaves]
        results = _Run.apply(program, call, keys, *tensors)  # type: ignore[no-untyped-call]
    else:
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            execution = Execution(program, call, _rows(call), adjoint=False)
            execution.forward()
            results = tuple(_results(execution))
    return _result(call, results)


def _leaves(call: Call) -> list[tuple[tuple[str, str], Tensor]]:
    """All tensors of a call that may want a gradient, by (kind, name)."""
    groups = {
        "parameter": call.parameters,
        "input": call.inputs,
        "history": call.history,
        "initial": call.initial,
    }
    return [
        ((kind, name), tensor)
        for kind, tensors in groups.items()
        for name, tensor in tensors.items()
        if tensor.is_floating_point()
    ]


def _dtype(call: Call) -> torch.dtype:
    for tensors in (call.parameters, call.initial, call.inputs):
        for tensor in tensors.values():
            if tensor.is_floating_point():
                return tensor.dtype
    return torch.float32


def _rows(call: Call) -> Rows:
    if call.lengths is None and call.resets is None:
        return dense_rows(call.steps, call.rows)
    return Rows(call.steps, call.rows, call.lengths, call.resets)


def _floating_history(call: Call) -> list[str]:
    return [name for name, value in call.history.items() if value.is_floating_point()]


def _results(execution: Execution) -> list[Tensor]:
    """Outputs, history of real values, laws, kept values."""
    call, flow = execution.call, execution.layout.flow
    results = [
        _output(execution, output.at_end, read)
        for output, read in zip(call.graph.outputs, flow.outputs, strict=True)
    ]
    results += [execution.final(name) for name in _floating_history(call)]
    if call.training:
        results += [execution.spread(read).squeeze(-1) for read in flow.laws]
        results += [execution.spread(read) for read in flow.kept]
    return results


def _output(execution: Execution, at_end: bool, read: Read) -> Tensor:
    if at_end:
        return execution.at_end(read)
    return execution.spread(read)


def _result(call: Call, results: tuple[Tensor, ...]) -> Result:
    outputs = len(call.graph.outputs)
    names = _floating_history(call)
    history = dict(zip(names, results[outputs : outputs + len(names)], strict=True))
    for name, before in call.history.items():
        if name not in history:
            history[name] = _final_symbols(call, _rows(call), name, before)
    ordered = {name: history[name] for name in call.history}
    laws = outputs + len(names)
    kept = laws + len(call.graph.laws) * call.training
    return Result(results[:outputs], ordered, results[laws:kept], results[kept:])


def _final_symbols(call: Call, rows: Rows, name: str, before: Tensor) -> Tensor:
    packed = rows.packed(call.inputs[name])
    nothing = packed.new_full((rows.rows,), -1)
    line = torch.cat([rows.sorted(before, 1).reshape(-1), packed, nothing])
    final = rows.final(len(before), "bounded") + len(before) * rows.rows
    return rows.unsorted(line[final], 1)


class _Run(torch.autograd.Function):
    """One call as one function: forward units, later the backward ones."""

    @staticmethod
    def forward(
        ctx: Any, program: Program, call: Call, keys: tuple[tuple[str, str], ...], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        execution = Execution(program, call, _rows(call), adjoint=False)
        with torch.autocast("cpu", enabled=False):
            execution.forward()
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *execution.saved())
        ctx.program, ctx.keys, ctx.rows, ctx.call = program, keys, execution.rows, _bare(call)
        return tuple(_results(execution))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        program, call, count = ctx.program, ctx.call, len(ctx.keys)
        tensors, saved = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        if torch.is_grad_enabled():
            again = differentiable_gradients(
                call_with(call, ctx.keys, tensors), tensors, gradients, ctx.needs_input_grad[3:]
            )
            return (None, None, None, *again)
        names = [("output", o.name) for o in call.graph.outputs]
        names += [("history", name) for name in _floating_history(call)]
        names += [("law", str(i)) for i in range(len(program.layout.flow.laws))]
        names += [("kept", str(i)) for i in range(len(program.layout.flow.kept))]
        whole = call_with(call, ctx.keys, tensors)
        execution = Execution(program, whole, ctx.rows, adjoint=True)
        with torch.autocast("cpu", enabled=False):
            execution.backward(saved, Seeds(dict(zip(names, gradients, strict=True))))
        found = {(g.kind, g.name): g.value for g in program.layout.flow.gradients}
        result = [
            execution.gradient(kind, found.get((kind, name), -1), tensor.shape, name)
            for (kind, name), tensor in zip(ctx.keys, tensors, strict=True)
        ]
        return (None, None, None, *result)


def _bare(call: Call) -> Call:
    """A call with all that its backward pass needs besides what is saved."""
    history = {
        name: value.new_empty(1).expand(value.shape) if value.is_floating_point() else value
        for name, value in call.history.items()
    }
    symbols = {n: v for n, v in call.inputs.items() if not v.is_floating_point()}
    return replace(call, parameters={}, inputs=symbols, history=history, initial={})
