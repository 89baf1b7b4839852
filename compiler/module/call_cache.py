"""What a model remembers of its calls, so that one like an earlier one takes a short way.

Remembered is what was found out about calls of some T and B, never a number of a parameter: its
tensor is looked up, and its address read, at every call. Whatever is not as it was takes the long
way, which checks everything and says what is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from rnnc.compiler.backends.backend import Backend
from rnnc.compiler.backends.replay_protocol import Again, Repeating
from rnnc.compiler.calls.plain_tensors import in_forward_mode, is_plain, is_transformed, is_watched
from rnnc.operators.graph.carry import carried
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call

from .parameters import Places
from .state import initial_history, initial_values

Kind = tuple[int, int, bool, bool, int]
"""T, B, whether a state is given, whether in training, how many threads."""

_MOST: Final = 16


@dataclass(frozen=True, slots=True)
class Shapes:
    """Of the inputs of a call, and tensors like its results."""

    inputs: tuple[tuple[int, ...], ...]
    results: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """One kind of call: `series` of all steps, or of one without its axis (`step`).

    states: the shapes of what is carried.
    fresh: what a call without a state begins with.
    """

    again: Again
    places: Places
    series: Shapes
    step: Shapes
    states: tuple[tuple[int, ...], ...]
    fresh: tuple[Tensor, ...]


class Repeats:
    """The kinds of calls of one model; used from any thread."""

    def __init__(self, graph: OperatorGraph) -> None:
        self._graph = graph
        self._able = bool(graph.parameters) and not (
            graph.has_windows
            or any(state.initial.kind == "uniform" for state in graph.states)
            or any(variable.type.kind == "symbol" for variable in graph.inputs)
        )
        self._told_apart = bool(
            graph.random
            or graph.laws
            or graph.losses is not None
            or any(p.weightdrop for p in graph.parameters)
        )
        self._known: dict[Kind, Repeat | bool] = {}

    def run(self, x: Any, state: Any, *, training: bool, step: bool) -> list[Tensor] | None:
        """The outputs and what is carried on, where such a call is known; None where it is not.

        step: whether this is one step without an axis of time.
        """
        if not self._known or torch.is_grad_enabled() or _is_observed():
            return None
        given: tuple[Any, ...] = x if type(x) is tuple else (x,)
        if not given or type(given[0]) is not Tensor or given[0].is_nested:
            return None
        shape = given[0].shape
        if len(shape) != 3 - step:
            return None
        size = (1, shape[0]) if step else (shape[0], shape[1])
        found = self._known.get((*size, state is not None, training, torch.get_num_threads()))
        if type(found) is not Repeat:
            return None
        return _run(found, found.step if step else found.series, given, state)

    def note(self, model: nn.Module, call: Call, backend: Backend, *, given: bool) -> None:
        """A call has taken the long way: at the second of its kind look for a shorter one.

        given: whether a state was given.
        """
        if (
            not self._able
            or torch.is_grad_enabled()
            or _is_observed()
            or not call.steps * call.rows
            or call.lengths is not None
            or call.resets is not None
            or (call.training and self._told_apart)
        ):
            return
        kind = (call.steps, call.rows, given, call.training, torch.get_num_threads())
        known = self._known.get(kind)
        if known is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[kind] = False
        elif known is False or (type(known) is Repeat and _is_stale(known, call)):
            self._known[kind] = self._made(model, call, backend, given=given) or True

    def _made(
        self, model: nn.Module, call: Call, backend: Backend, *, given: bool
    ) -> Repeat | None:
        graph = self._graph
        if not given and any(state.is_learned for state in graph.states):
            return None
        again = backend.again(call) if isinstance(backend, Repeating) else None
        places = Places(model, graph)
        if again is None or places.tensors(again.dtype) is None:
            return None
        like = torch.empty(0, dtype=again.dtype)
        parts = {name: tuple(value.shape) for name, value in call.history.items()}
        states = tuple(shape[1:] if shape[0] == 1 else shape for shape in parts.values())
        fresh: tuple[Tensor, ...] = ()
        if not given:
            initial = initial_values(graph, call.parameters, call.rows, like)
            whole = initial_history(graph, initial, call.rows, like)
            fresh = tuple(whole[item.name].contiguous() for item in carried(graph))
        series = tuple(tuple(call.inputs[v.name].shape) for v in graph.inputs)
        outputs = again.shapes[: len(graph.outputs)]
        ends = [output.at_end for output in graph.outputs]
        single = [o if end else o[1:] for o, end in zip(outputs, ends, strict=True)]
        return Repeat(
            again,
            places,
            Shapes(series, tuple(like.new_empty(s) for s in (*outputs, *states))),
            Shapes(
                tuple(s[1:] for s in series),
                tuple(like.new_empty(s) for s in (*single, *states) if call.steps == 1),
            ),
            states,
            fresh,
        )


def _is_observed() -> bool:
    """Whether somebody has to see a call for whom the short way would hide it."""
    return is_watched() or is_transformed() or in_forward_mode()


def _is_stale(repeat: Repeat, call: Call) -> bool:
    like = next(iter(call.parameters.values()))
    return repeat.again.dtype is not like.dtype or repeat.places.tensors(like.dtype) is None


def _run(repeat: Repeat, shapes: Shapes, given: tuple[Any, ...], state: Any) -> list[Tensor] | None:
    again, states = repeat.again, repeat.fresh
    if state is not None:
        states = (state,) if isinstance(state, Tensor) else state
        if not isinstance(states, tuple | list) or len(states) != len(repeat.states):
            return None
        for part, shape in zip(states, repeat.states, strict=True):
            if not _fits(part, shape, again.dtype):
                return None
    if len(given) != len(shapes.inputs):
        return None
    for part, shape in zip(given, shapes.inputs, strict=True):
        if not _fits(part, shape, again.dtype):
            return None
    parameters = repeat.places.tensors(again.dtype)
    if parameters is None:
        return None
    results = [torch.empty_like(result) for result in shapes.results]
    again.run([*parameters, *given, *states, *results])
    return results


def _fits(part: Any, shape: tuple[int, ...], dtype: torch.dtype) -> bool:
    return (
        type(part) is Tensor
        and part.dtype is dtype
        and part.is_cpu
        and is_plain(part)
        and part.shape == shape
        and part.is_contiguous()
    )
