"""Cache of call signatures, so that a call like an earlier one is checked and run faster.

An entry holds what depends on T and B, never values: each parameter is looked up, and its address
read, at every call. A call that fails any guard takes the normal path, which checks everything and
raises the errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from rnnc.compiler.backends.backend import Backend
from rnnc.compiler.backends.replay_protocol import Replay, ReplayingBackend
from rnnc.compiler.calls.active_tracers import (
    has_active_tracer,
    has_functorch_transform,
    is_forward_ad_active,
)
from rnnc.compiler.calls.tensor_storage import is_addressable
from rnnc.operators.graph.carry import carry_entries
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call

from .parameters import ParameterSlots
from .state import initial_carry, initial_values

CallSignature = tuple[int, int, bool, bool, int]
"""T, B, has a state, is in training, number of threads."""

_MAX_SIGNATURES: Final = 16
"""Entries of a model; beyond that the cache is cleared, so that varying T and B fill no memory."""


@dataclass(frozen=True, slots=True)
class CallShapes:
    """Shapes of a call's inputs, and empty tensors of the shapes of its results."""

    inputs: tuple[tuple[int, ...], ...]
    results: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class CachedCall:
    """Cache entry of one call signature, with shapes for `forward` and for `step`.

    state_shapes: of the entries of a state.
    initial_carry: the carry of a call without a state.
    """

    replay: Replay
    parameters: ParameterSlots
    sequence_shapes: CallShapes
    step_shapes: CallShapes
    state_shapes: tuple[tuple[int, ...], ...]
    initial_carry: tuple[Tensor, ...]


class CallCache:
    """Call signatures of one model and their replays; used from any thread."""

    def __init__(self, graph: OperatorGraph) -> None:
        self._graph = graph
        self._is_cacheable = bool(graph.parameters) and not (
            graph.has_windows
            or any(state.initial_value.kind == "uniform" for state in graph.states)
            or any(variable.type.kind == "symbol" for variable in graph.inputs)
        )
        self._training_differs = bool(
            graph.random_nodes
            or graph.laws
            or graph.loss_graph is not None
            or any(p.weightdrop for p in graph.parameters)
        )
        self._entries: dict[CallSignature, CachedCall | bool] = {}

    def try_call(self, x: Any, state: Any, *, training: bool, step: bool) -> list[Tensor] | None:
        """Replay a call; return its outputs and carry, None if no entry matches.

        step: True for one step without a time axis.
        """
        if not self._entries or torch.is_grad_enabled() or _is_intercepted():
            return None
        inputs: tuple[Any, ...] = x if type(x) is tuple else (x,)
        if not inputs or type(inputs[0]) is not Tensor or inputs[0].is_nested:
            return None
        shape = inputs[0].shape
        if len(shape) != 3 - step:
            return None
        size = (1, shape[0]) if step else (shape[0], shape[1])
        entry = self._entries.get((*size, state is not None, training, torch.get_num_threads()))
        if type(entry) is not CachedCall:
            return None
        return _run_replay(
            entry, entry.step_shapes if step else entry.sequence_shapes, inputs, state
        )

    def record(self, model: nn.Module, call: Call, backend: Backend, *, has_state: bool) -> None:
        """Record a call that took the normal path; build an entry at the second of its signature.

        has_state: True if the call was given a state.
        """
        if (
            not self._is_cacheable
            or torch.is_grad_enabled()
            or _is_intercepted()
            or not call.steps * call.batch_size
            or call.lengths is not None
            or call.resets is not None
            or (call.training and self._training_differs)
        ):
            return
        signature = (call.steps, call.batch_size, has_state, call.training, torch.get_num_threads())
        entry = self._entries.get(signature)
        if entry is None:
            if len(self._entries) >= _MAX_SIGNATURES:
                self._entries.clear()
            self._entries[signature] = False
        elif entry is False or (type(entry) is CachedCall and _is_stale(entry, call)):
            self._entries[signature] = (
                self._build_entry(model, call, backend, has_state=has_state) or True
            )

    def _build_entry(
        self, model: nn.Module, call: Call, backend: Backend, *, has_state: bool
    ) -> CachedCall | None:
        graph = self._graph
        if not has_state and any(state.has_learned_initial_value for state in graph.states):
            return None
        replay = backend.make_replay(call) if isinstance(backend, ReplayingBackend) else None
        slots = ParameterSlots(model, graph)
        if replay is None or slots.lookup(replay.dtype) is None:
            return None
        like = torch.empty(0, dtype=replay.dtype)
        carry_shapes = {name: tuple(value.shape) for name, value in call.carry.items()}
        state_shapes = tuple(
            shape[1:] if shape[0] == 1 else shape for shape in carry_shapes.values()
        )
        fresh_carry: tuple[Tensor, ...] = ()
        if not has_state:
            initial = initial_values(graph, call.parameters, call.batch_size, like)
            carry = initial_carry(graph, initial, call.batch_size, like)
            fresh_carry = tuple(carry[item.name].contiguous() for item in carry_entries(graph))
        input_shapes = tuple(tuple(call.inputs[v.name].shape) for v in graph.inputs)
        outputs = replay.result_shapes[: len(graph.outputs)]
        ends = [output.at_end for output in graph.outputs]
        step_outputs = [o if end else o[1:] for o, end in zip(outputs, ends, strict=True)]
        return CachedCall(
            replay,
            slots,
            CallShapes(input_shapes, tuple(like.new_empty(s) for s in (*outputs, *state_shapes))),
            CallShapes(
                tuple(s[1:] for s in input_shapes),
                tuple(like.new_empty(s) for s in (*step_outputs, *state_shapes) if call.steps == 1),
            ),
            state_shapes,
            fresh_carry,
        )


def _is_intercepted() -> bool:
    """Return True if a tracer, transform or forward mode must see the call's operations."""
    return has_active_tracer() or has_functorch_transform() or is_forward_ad_active()


def _is_stale(entry: CachedCall, call: Call) -> bool:
    like = next(iter(call.parameters.values()))
    return entry.replay.dtype is not like.dtype or entry.parameters.lookup(like.dtype) is None


def _run_replay(
    entry: CachedCall, shapes: CallShapes, inputs: tuple[Any, ...], state: Any
) -> list[Tensor] | None:
    replay, states = entry.replay, entry.initial_carry
    if state is not None:
        states = (state,) if isinstance(state, Tensor) else state
        if not isinstance(states, tuple | list) or len(states) != len(entry.state_shapes):
            return None
        for tensor, shape in zip(states, entry.state_shapes, strict=True):
            if not _matches(tensor, shape, replay.dtype):
                return None
    if len(inputs) != len(shapes.inputs):
        return None
    for tensor, shape in zip(inputs, shapes.inputs, strict=True):
        if not _matches(tensor, shape, replay.dtype):
            return None
    parameters = entry.parameters.lookup(replay.dtype)
    if parameters is None:
        return None
    results = [torch.empty_like(result) for result in shapes.results]
    replay.run([*parameters, *inputs, *states, *results])
    return results


def _matches(tensor: Any, shape: tuple[int, ...], dtype: torch.dtype) -> bool:
    return (
        type(tensor) is Tensor
        and tensor.dtype is dtype
        and tensor.is_cpu
        and is_addressable(tensor)
        and tensor.shape == shape
        and tensor.is_contiguous()
    )
