"""A plan inside of autograd: forward phases, and backward phases that read what those saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ....operators.call import Call, Result
from ....operators.reference import run as run_reference
from ...plan import Plan
from ...request import Request, all_seeds
from .execute import collected, prepared, run_phases
from .memory import Memory

Planner = Callable[[Request], Plan]
Name = tuple[str, str]


def run(planner: Planner, call: Call) -> Result:
    """All outputs, the final history and the laws of one call."""
    sources = _sources(call)
    wanted: tuple[Name, ...] = ()
    if torch.is_grad_enabled():
        wanted = tuple(name for name, tensor in sources if tensor.requires_grad)
    plan = planner(
        Request(
            training=call.training,
            gradients=wanted,
            seeds=all_seeds(call.graph) if wanted else frozenset(),
        )
    )
    if not wanted:
        with torch.no_grad(), torch.autocast(_device(call), enabled=False):
            memory = prepared(plan, call)
            run_phases(plan.forward, memory)
            return collected(memory)
    names = tuple(name for name, _ in sources)
    shell = _Shell(plan, call, names, len(call.graph.outputs), tuple(call.history))
    flat = _Function.apply(shell, *(tensor for _, tensor in sources))  # type: ignore[no-untyped-call]
    return shell.result(flat)


def is_transformed() -> bool:
    """Whether a transform of `torch.func` is active, which this function cannot take part in."""
    active = getattr(torch._C, "_are_functorch_transforms_active", None)
    return active is not None and bool(active())


def _device(call: Call) -> str:
    tensors = (*call.parameters.values(), *call.inputs.values(), *call.initial.values())
    return next((tensor.device.type for tensor in tensors), "cpu")


def _sources(call: Call) -> list[tuple[Name, Tensor]]:
    """Everything that a gradient may be wanted of, by kind and name."""
    found: list[tuple[Name, Tensor]] = []
    for kind, tensors in (
        ("parameter", call.parameters),
        ("input", call.inputs),
        ("history", call.history),
        ("initial", call.initial),
    ):
        found += [((kind, name), tensor) for name, tensor in tensors.items()]
    return found


def _with(call: Call, names: Sequence[Name], tensors: Sequence[Tensor]) -> Call:
    """The call on other tensors."""
    parts: dict[str, dict[str, Tensor]] = {}
    for (kind, name), tensor in zip(names, tensors, strict=True):
        parts.setdefault(kind, {})[name] = tensor
    return replace(
        call,
        parameters=parts.get("parameter", {}),
        inputs=parts.get("input", {}),
        history=parts.get("history", {}),
        initial=parts.get("initial", {}),
    )


@dataclass(frozen=True, slots=True)
class _Shell:
    """What autograd passes through without looking at it."""

    plan: Plan
    call: Call
    names: tuple[Name, ...]
    outputs: int
    history: tuple[str, ...]

    def result(self, flat: Sequence[Tensor]) -> Result:
        """A result from its tensors in a row."""
        kept = len(self.history)
        after = self.outputs + kept
        laws = after + len(self.call.graph.laws) * self.call.training
        return Result(
            tuple(flat[: self.outputs]),
            dict(zip(self.history, flat[self.outputs : after], strict=True)),
            tuple(flat[after:laws]),
            tuple(flat[laws:]),
        )


class _Function(torch.autograd.Function):
    """One call of a model."""

    @staticmethod
    def forward(ctx: Any, shell: _Shell, *tensors: Tensor) -> tuple[Tensor, ...]:
        plan = shell.plan
        with torch.autocast(tensors[0].device.type, enabled=False):
            memory = prepared(plan, shell.call)
            run_phases(plan.forward, memory)
            result = collected(memory)
        buffers = [b.number for b in plan.buffers if b.saved and b.number in memory.buffers]
        values = [n for n in plan.saved if n in memory.given and plan.flow.values[n].operands]
        ctx.save_for_backward(
            *tensors,
            *(memory.buffers[number] for number in buffers),
            *(memory.given[number][0] for number in values),
        )
        # The tensors of the call come back from autograd, which sees whether they were changed.
        empty: dict[str, Tensor] = {}
        ctx.shell = replace(
            shell,
            call=replace(shell.call, parameters=empty, inputs=empty, history=empty, initial=empty),
        )
        ctx.buffers, ctx.values, ctx.count = buffers, values, len(tensors)
        ctx.set_materialize_grads(False)
        flat = (*result.outputs, *result.history.values(), *result.laws, *result.kept)
        ctx.mark_non_differentiable(*(t for t in flat if not t.is_floating_point()))
        return flat

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        shell: _Shell = ctx.shell
        saved = ctx.saved_tensors
        tensors = saved[: ctx.count]
        call = _with(shell.call, shell.names, tensors)
        if torch.is_grad_enabled():
            return (None, *_again(call, shell, tensors, gradients, ctx.needs_input_grad[1:]))
        plan = shell.plan
        with torch.autocast(tensors[0].device.type, enabled=False):
            memory = prepared(plan, call)
            middle = ctx.count + len(ctx.buffers)
            memory.buffers.update(zip(ctx.buffers, saved[ctx.count : middle], strict=True))
            for number, tensor in zip(ctx.values, saved[middle:], strict=True):
                memory.put(number, tensor)
            _seed(memory, shell, gradients)
            run_phases(plan.backward, memory)
            found: dict[Name, int] = {(g.kind, g.name): g.value for g in plan.flow.gradients}
            return (
                None,
                *(
                    _gradient(memory, name, tensor, found) if needed else None
                    for name, tensor, needed in zip(
                        shell.names, tensors, ctx.needs_input_grad[1:], strict=True
                    )
                ),
            )


def _seed(memory: Memory, shell: _Shell, gradients: Sequence[Tensor | None]) -> None:
    """Put the gradients that come in where the plan reads them."""
    plan, boundaries = memory.plan, memory.boundaries
    outputs = plan.flow.graph.outputs
    at = {output.name: index for index, output in enumerate(outputs)}
    laws = shell.outputs + len(shell.history)
    first = {"law": laws, "kept": laws + len(plan.flow.laws)}
    for value in plan.flow.values:
        if value.operation != "seed":
            continue
        kind, name = str(value.attributes[0]), str(value.attributes[1])
        if kind == "output":
            gradient = gradients[at[name]]
            if gradient is not None:
                ends = outputs[at[name]].at_end
                place = boundaries.before_last if ends else boundaries.shown
                gradient = place(gradient)
        elif kind in {"law", "kept"}:
            gradient = gradients[first[kind] + int(name)]
            if gradient is not None:
                gradient = boundaries.shown(gradient.unsqueeze(-1) if kind == "law" else gradient)
        else:
            gradient = gradients[shell.outputs + shell.history.index(name)]
            if gradient is not None:
                early, gradient, replaced = boundaries.before_history(gradient)
                memory.early[name], memory.replaced[name] = early, replaced
            else:
                zero = memory.like.new_zeros(())
                memory.early[name] = memory.replaced[name] = zero
        if gradient is None:
            zeros = memory.like.new_zeros(1, 1, 1)
            gradient = zeros.expand(memory.call.steps, memory.call.rows, value.shape[0])
        memory.put(value.number, gradient)


def _gradient(memory: Memory, name: Name, tensor: Tensor, found: dict[Name, int]) -> Tensor | None:
    number = found.get(name, -1)
    if number < 0:
        return None
    gradient = memory.now(number)
    if name[0] == "input":
        gradient = memory.boundaries.shown(gradient)
    return gradient.expand(tensor.shape).contiguous()


def _again(
    call: Call,
    shell: _Shell,
    tensors: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients that can be differentiated again: through the reference."""
    result = run_reference(call)
    flat = (*result.outputs, *result.history.values(), *result.laws, *result.kept)
    pairs = [
        (y, g) for y, g in zip(flat, gradients, strict=True) if g is not None and y.requires_grad
    ]
    wanted = [tensor for tensor, need in zip(tensors, needed, strict=True) if need]
    if not pairs:
        return [None] * len(tensors)
    found = iter(
        torch.autograd.grad(
            [y for y, _ in pairs],
            wanted,
            [g for _, g in pairs],
            create_graph=True,
            allow_unused=True,
        )
    )
    return [next(found) if need else None for need in needed]
