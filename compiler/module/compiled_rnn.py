"""The compiled model: a `torch.nn.Module` with the calling convention of `torch.nn.LSTM`."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor

from rnnc.compiler.backends.backend import Options
from rnnc.compiler.backends.registry import Backends
from rnnc.compiler.calls.active_tracers import writable_views
from rnnc.compiler.calls.random_masks import apply_weight_drop, draw_initial_values, draw_masks
from rnnc.compiler.torch_integration.custom_op import model_key
from rnnc.compiler.torch_integration.dispatch import dispatch_call as run_call
from rnnc.operators.graph.carry import age_name
from rnnc.operators.graph.operator_graph import OperatorGraph, expose_loss_inputs
from rnnc.operators.semantics.call import Call, CallResult
from rnnc.operators.sources.model_source import ModelSource

from .arguments import inputs_by_name, normalize_input, normalize_lengths, normalize_resets
from .auxiliary_losses import mean_over_steps
from .call_cache import CallCache
from .loss_methods import LossMethods
from .loss_targets import has_auxiliary_losses
from .namedtuples import NamedTupleFactory
from .parameters import attach_parameters, collect_parameters, first_parameter
from .state import (
    carry_to_state,
    initial_carry,
    initial_values,
    next_age,
    state_fields,
    state_to_carry,
)

_has_global_hooks = getattr(torch.nn.modules.module, "_has_any_global_hook", lambda: True)


class CompiledRNN(LossMethods):
    """Recurrent network compiled from a spec; `rnnc.compile` makes it.

    Calls are `y, state = model(x, state, lengths=…, resets=…)`: x is (T, B, n), or (T, B) of int64
    for symbols (−1: no symbol); y (T, B, m) of logits or means, zero past a row's length, or (B, m)
    for an output at the end. Several inputs are a tuple or dictionary, several outputs a named
    tuple. With `batch_first`, T and B change places in x, y and resets, not in states.
    """

    def __init__(
        self,
        graph: OperatorGraph,
        program: ModelSource,
        *,
        backend: str = "auto",
        batch_first: bool = False,
        options: Options | None = None,
        require: str | None = None,
    ) -> None:
        super().__init__(graph, backend=backend, batch_first=batch_first)
        self._program = program
        self._backends = Backends(graph, backend, options, require)
        self._model_key = model_key(program, backend, options or Options(), require)
        self._loss_input_backends: Backends | None = None
        if graph.loss_graph is not None and not graph.scored_outputs:
            # `loss` terms alone score this model, in evaluation too.
            self._loss_input_graph = expose_loss_inputs(graph)
            self._loss_input_backends = Backends(self._loss_input_graph, backend, options, require)
            self._loss_input_key = model_key(
                program, backend, options or Options(), require, with_loss_inputs=True
            )
        # Created here, because torch.compile cannot trace the creation of a type.
        self._output_fields = NamedTupleFactory(
            "Outputs", tuple(output.name for output in graph.outputs)
        )
        self._state_fields = state_fields(graph)
        self._call_cache = CallCache(graph)
        attach_parameters(self, graph)
        # The dtype and device of a model without parameters (only constants).
        self.register_buffer("_like", torch.empty(0), persistent=False)
        self._backends.choose_initial(self._like_tensor())
        # Compute the cached properties that a call reads: torch.compile cannot trace the lock that
        # Python 3.11 holds while it computes one.
        _ = graph.random_nodes, graph.backward_nodes, graph.has_windows, self.runs_backward
        _ = graph.scored_outputs, graph.predictions

    @property
    def graph(self) -> OperatorGraph:
        """Return the operator graph."""
        return self._graph

    @property
    def program(self) -> ModelSource:
        """Return the program, from which the same model can be compiled again."""
        return self._program

    @property
    def backend(self) -> str:
        """Return the name of the backend that runs this model on its device, in its dtype."""
        return self._backends.choose_initial(self._like_tensor()).name

    @property
    def backends(self) -> Backends:
        """Return the candidate backends of this model."""
        return self._backends

    @property
    def batch_first(self) -> bool:
        """Return True if inputs and outputs are (B, T, …)."""
        return self._batch_first

    @cached_property
    def runs_backward(self) -> tuple[str, ...]:
        """Return the states that run backward in time; a model with one has no carried state."""
        return tuple(s.name for s in self._graph.states if s.node in self._graph.backward_nodes)

    def forward(
        self, x: Any, state: Any = None, *, lengths: Any = None, resets: Tensor | None = None
    ) -> tuple[Any, Any]:
        """Run all steps of a batch of sequences.

        Args:
            x: the inputs, see the class.
            state: a state that a call returned, to go on from; by default a fresh one.
            lengths: (B,) of integers: how many steps each row has.
            resets: (T, B) of bool: start a new segment before that step.

        Returns:
            The outputs, and the state after each row's last step (None for a model that runs
            backward).

        Raises:
            ValueError: when an argument does not fit the model, before anything is computed.
        """
        is_simple = lengths is None and resets is None and not self._batch_first
        if is_simple and not torch.compiler.is_compiling():
            replayed = self._try_cached_call(x, state, step=False)
            if replayed is not None:
                return replayed
        inputs, steps, rows = self._prepare_inputs(x)
        result = self._run_call(inputs, state, lengths, self._swap_batch_time(resets), steps, rows)
        return self._pack_outputs(result), self._pack_state(result)

    def step(self, x_t: Any, state: Any = None) -> tuple[Any, Any]:
        """Run one step: x_t is (B, n), or (B,) of symbols; the outputs have no time axis.

        Raises:
            ValueError: when an argument does not fit, or the model runs backward in time.
        """
        if not torch.compiler.is_compiling() and self._is_unhooked():
            replayed = self._try_cached_call(x_t, state, step=True)
            if replayed is not None:
                return replayed
        self._check_runs_forward("step")
        inputs = inputs_by_name(self._graph, x_t)
        axis = 1 if self._batch_first else 0
        y, state = self({name: value.unsqueeze(axis) for name, value in inputs.items()}, state)
        with writable_views():
            if isinstance(y, tuple):
                outputs = (
                    tensor if output.at_end else tensor.squeeze(axis)
                    for tensor, output in zip(y, self._graph.outputs, strict=True)
                )
                return type(y)(*outputs), state
            return (y if self._graph.outputs[0].at_end else y.squeeze(axis)), state

    def initial_state(self, batch_size: int) -> Any:
        """Return the state before a first step, for `batch_size` rows.

        Raises:
            ValueError: when the model runs backward in time, or that is no number of rows.
        """
        self._check_runs_forward("state")
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 0:
            raise ValueError(f"batch_size: expected an integer from 0 up, got {batch_size!r}")
        like = self._like_tensor()
        initial = initial_values(
            self._graph, collect_parameters(self, self._graph), batch_size, like
        )
        carry = initial_carry(self._graph, initial, batch_size, like)
        # Clone each, so that the caller may change it in place.
        cloned = {k: v.clone(memory_format=torch.contiguous_format) for k, v in carry.items()}
        with writable_views():
            return carry_to_state(self._graph, self._state_fields, cloned)

    def _try_cached_call(self, x: Any, state: Any, *, step: bool) -> tuple[Any, Any] | None:
        """Replay a call of a known signature; None if there is no entry for it."""
        results = self._call_cache.try_call(x, state, training=self.training, step=step)
        if results is None:
            return None
        self.__dict__["_laws"], self.__dict__["_last_call"] = (), None
        if not step:
            self._record_inputs(x if isinstance(x, tuple) else (x,))
        count = len(self._graph.outputs)
        y = results[0] if count == 1 else self._output_fields.make(*results[:count])
        return y, None if self.runs_backward else self._state_fields.make(*results[count:])

    def _is_unhooked(self) -> bool:
        """Return True if calling this module does nothing but `CompiledRNN.forward`."""
        return not (
            self._forward_hooks
            or self._forward_pre_hooks
            or self._backward_hooks
            or self._backward_pre_hooks
            or _has_global_hooks()
            or self._compiled_call_impl is not None
            or getattr(self.forward, "__func__", None) is not CompiledRNN.forward
        )

    def _run_call(
        self,
        inputs: dict[str, Tensor],
        state: Any,
        lengths: Any,
        resets: Tensor | None,
        steps: int,
        rows: int,
    ) -> CallResult:
        graph = self._graph
        parameters = collect_parameters(self, graph)
        like = next(iter(parameters.values()), cast(Tensor, self._like))
        initial = initial_values(graph, parameters, rows, like)
        if state is None:
            carry = initial_carry(graph, initial, rows, like)
        else:
            self._check_runs_forward("state")
            carry = state_to_carry(graph, state, rows, like)
        reset_mask = normalize_resets(resets, steps, rows, like.device)
        age = carry.pop(age_name(graph), None) if graph.has_windows else None
        call = Call(
            graph=graph,
            parameters=apply_weight_drop(graph, parameters) if self.training else parameters,
            inputs=inputs,
            carry=carry,
            initial_values=initial,
            reset_values=draw_initial_values(graph, steps, rows, like)
            if reset_mask is not None
            else {},
            masks=draw_masks(graph, steps, rows, like) if self.training else {},
            lengths=normalize_lengths(lengths, steps, rows, like.device),
            resets=reset_mask,
            training=self.training,
            steps=steps,
            batch_size=rows,
            age=None if age is None else age[0],
        )
        if self._loss_input_backends is not None and not self.training:
            exposed = replace(call, graph=self._loss_input_graph)
            result = run_call(self._loss_input_backends, exposed, like, self._loss_input_key)
            output_count = len(graph.outputs)
            result = replace(
                result,
                outputs=result.outputs[:output_count],
                loss_inputs=result.outputs[output_count:],
            )
        else:
            result = run_call(self._backends, call, like, self._model_key)
            if not torch.compiler.is_compiling():
                backend = self._backends.choose(like)
                self._call_cache.record(self, call, backend, has_state=state is not None)
        # Set without nn.Module.__setattr__, which checks each value for parameters.
        self.__dict__["_laws"] = tuple(mean_over_steps(v, call.lengths) for v in result.laws)
        needs_call = has_auxiliary_losses(graph, training=self.training)
        self.__dict__["_last_call"] = (call, result) if needs_call else None
        if call.age is None:
            return result
        age_after = next_age(call.age, call.lengths, reset_mask, steps)
        assert age_after is not None
        return replace(result, carry={**result.carry, age_name(graph): age_after.unsqueeze(0)})

    def __getstate__(self) -> dict[str, Any]:
        # Results of the last call belong to its autograd graph, which a copy must not share.
        cleared: dict[str, Any] = {
            "_laws": (),
            "_last_call": None,
            "_input_refs": {},
            "_call_cache": CallCache(self._graph),
        }
        return {**self.__dict__, **cleared}

    def _prepare_inputs(self, x: Any) -> tuple[dict[str, Tensor], int, int]:
        """Check the inputs of a call; return them by name with T in front, then T and B."""
        graph, like = self._graph, self._like_tensor()
        tensors = inputs_by_name(graph, x)
        self._record_inputs(tuple(tensors.values()))
        inputs = {
            v.name: normalize_input(v, self._swap_batch_time(tensors[v.name]), like)
            for v in graph.inputs
        }
        shapes = {name: tuple(value.shape[:2]) for name, value in inputs.items()}
        steps, rows = next(iter(shapes.values()), (0, 0))
        # Compare instead of hashing: torch.compile would specialize on a hashed size.
        if any(shape != (steps, rows) for shape in shapes.values()):
            raise ValueError(f"expected inputs of the same T and B, got {shapes}")
        return inputs, steps, rows

    def _pack_outputs(self, result: CallResult) -> Any:
        outputs = self._graph.outputs
        with writable_views():
            values = [
                value if output.at_end else self._swap_batch_time(value)
                for output, value in zip(outputs, result.outputs, strict=True)
            ]
        if len(values) == 1:
            return values[0]
        return self._output_fields.make(*values)

    def _pack_state(self, result: CallResult) -> Any:
        if self.runs_backward:
            return None
        with writable_views():
            return carry_to_state(self._graph, self._state_fields, result.carry)

    def _check_runs_forward(self, what: str) -> None:
        if self.runs_backward:
            names = ", ".join(self.runs_backward)
            raise ValueError(
                f"this model has no {what} to go on from: {names} runs backward in time, from the "
                "end of a sequence, so that a part of it says nothing about the rest"
            )

    def _like_tensor(self) -> Tensor:
        parameter = first_parameter(self, self._graph)
        return cast(Tensor, self._like) if parameter is None else parameter

    def __repr__(self) -> str:
        count = sum(parameter.numel() for parameter in self.parameters())
        head = f"rnnc model {self._graph.name} ({count:,} parameters, backend {self.backend})"
        text = self._program.text.strip("\n")
        return "\n".join([head, *(f"    {line}".rstrip() for line in text.split("\n"))])
