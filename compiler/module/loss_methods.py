"""Loss methods of a compiled model: `loss` against targets, `nll` of its own input."""

from __future__ import annotations

import warnings
import weakref
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rnnc.compiler.backends.registry import Backends
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call, CallResult

from .arguments import normalize_lengths, normalize_resets, order_by_output
from .auxiliary_losses import auxiliary_loss
from .loss_checks import check_reduction
from .loss_targets import compute_output_losses, has_auxiliary_losses, target_name, targets_by_name
from .losses import reduce_losses
from .namedtuples import NamedTupleFactory
from .next_step import CARRY_FIELDS, check_predicts_input, shift_inputs, unpack_carry
from .parameters import AnyNameModule


class LossMethods(AnyNameModule):
    """Base class of `CompiledRNN` with its loss methods."""

    def __init__(self, graph: OperatorGraph, *, backend: str, batch_first: bool) -> None:
        super().__init__()
        self._graph, self._batch_first = graph, batch_first
        terms = graph if graph.loss_graph is None else graph.loss_graph.graph
        self._term_backends = Backends(terms, "reference" if backend == "reference" else "auto")
        # Created here, because torch.compile cannot trace the creation of a type.
        self._input_fields = NamedTupleFactory(
            "Inputs", tuple(variable.name for variable in graph.inputs)
        )
        self._laws: tuple[Tensor, ...] = ()
        self._last_call: tuple[Call, CallResult] | None = None
        self._input_refs: dict[str, weakref.ref[Tensor]] = {}
        self._has_warned = False

    @property
    @abstractmethod
    def runs_backward(self) -> tuple[str, ...]:
        """Return the states that run backward in time."""

    @abstractmethod
    def _prepare_inputs(self, x: Any) -> tuple[dict[str, Tensor], int, int]:
        """Check the inputs of a call; return them by name with T in front, then T and B."""

    @abstractmethod
    def _like_tensor(self) -> Tensor:
        """Return a tensor of the model's dtype on its device."""

    @abstractmethod
    def _check_runs_forward(self, what: str) -> None:
        """Raise ValueError if the model runs backward in time."""

    def loss(
        self, y: Any, target: Any = None, *, lengths: Any = None, weight: Any = None
    ) -> Tensor:
        """Compute the mean loss of a step in nats (for real targets, the squared error).

        In training the weighted laws of the last call are added, and the spec's `loss` terms, which
        are about the last call, too; in evaluation those terms count where nothing else is scored.
        Several outputs add up.

        Args:
            y: the outputs of a call.
            target: (T, B, m), or (T, B) of symbols, where one below 0 is left out; (B, m) or (B,)
                for an output at the end. Those of several outputs are a tuple, or a dictionary,
                which may leave some out. `unscored` outputs have none. Where a `loss` term reads
                the next value of an input that is not predicted, it has the input's name.
            lengths: (B,) of integers, as in the call.
            weight: (T, B), or (B,) for an output at the end, from 0 up: the mean is
                Σ w · loss / Σ w. One for all outputs, or a dictionary of those that count.

        Raises:
            ValueError: when a target or weight does not fit its output, or the last call.
        """
        graph = self._graph
        caller_targets = targets_by_name(graph, target, training=self.training)
        self._warn_if_target_is_input(caller_targets)
        ys = self._outputs_by_target(order_by_output(graph, "y", y))
        at_end = {target_name(output) for output in graph.outputs if output.at_end}
        targets = {
            k: v if k in at_end else self._swap_batch_time(v) for k, v in caller_targets.items()
        }
        if lengths is not None:
            lengths = torch.as_tensor(lengths)
        losses = compute_output_losses(
            graph.scored_outputs, ys, targets, lengths, self._swap_weight(weight)
        )
        total = reduce_losses(losses, "mean") if losses else next(iter(ys.values())).new_zeros(())
        return self._add_auxiliary_losses(total, targets)

    def nll(
        self,
        x: Any,
        carry: Any = None,
        lengths: Any = None,
        resets: Any = None,
        weight: Any = None,
        reduction: str = "mean",
    ) -> tuple[Tensor, Any]:
        """Compute the loss of predicting each step of x from the steps before, and the next carry.

        Where a segment begins the model is fed a blank step (zeros, or no symbol), and else the
        step before, in all inputs alike; its outputs are scored against the inputs that it
        predicts, whose losses add up. In training laws and `loss` terms are added as in `loss`, but
        for "none".

        Args:
            x: the inputs, as a call takes them. A symbol of −1 is none, and is not scored.
            carry: the carry of the part before; by default the start of a sequence.
            lengths: (B,) of integers: how many steps of x each row has.
            resets: (T, B) of bool: a segment begins with that step of x, which the blank goes
                before.
            weight: (T, B), of the steps of x, from 0 up; one for all, or a dictionary of the
                predicted inputs that count.
            reduction: "mean", Σ w · loss / Σ w over the scored steps; "sum"; or "none", (T, B) with
                0 where nothing is scored.

        Returns:
            The loss, and the carry: a named tuple of `state`, and `x`, the last step of each row,
            not yet read, so that `model.step(carry.x, carry.state)` predicts the next step. A row
            of length 0 keeps its own. None for a model that runs backward, which takes none either.

        Raises:
            ValueError: when an argument does not fit, or the model predicts no input.
        """
        graph = self._graph
        check_predicts_input(graph)
        check_reduction(reduction)
        if carry is not None:
            self._check_runs_forward("carry")
        inputs, steps, rows = self._prepare_inputs(x)
        like = self._like_tensor()
        lengths = normalize_lengths(lengths, steps, rows, like.device)
        resets = normalize_resets(self._swap_batch_time(resets), steps, rows, like.device)
        state, previous = unpack_carry(graph, carry, rows, like)
        shifted, last = shift_inputs(inputs, previous, lengths, resets)
        y, state = self(
            {name: self._swap_batch_time(value) for name, value in shifted.items()},
            state,
            lengths=lengths,
            resets=self._swap_batch_time(resets),
        )
        ys = self._outputs_by_target(order_by_output(graph, "y", y))
        weight = self._swap_weight(weight)
        total = reduce_losses(
            compute_output_losses(graph.predictions, ys, inputs, lengths, weight), reduction
        )
        is_unreduced = reduction == "none"
        total = (
            self._swap_batch_time(total)
            if is_unreduced
            else self._add_auxiliary_losses(total, inputs)
        )
        if self.runs_backward:
            return total, None
        last_steps = tuple(last.values())
        return total, CARRY_FIELDS.make(
            state, last_steps[0] if len(last_steps) == 1 else self._input_fields.make(*last_steps)
        )

    def laws(self) -> dict[str, Tensor]:
        """Return the unweighted values of the laws in the last call in training, by their text."""
        values: dict[str, Tensor] = {}
        for law, value in zip(self._graph.laws, self._laws, strict=False):
            # One line inside of a `for` gives several laws of equal text.
            count = sum(text.partition(" #")[0] == law.text for text in values)
            values[f"{law.text} #{count + 1}" if count else law.text] = value
        return values

    def _record_inputs(self, inputs: tuple[Tensor, ...]) -> None:
        """Record the input tensors of a call, for `_warn_if_target_is_input`."""
        if not self._graph.predictions or torch.compiler.is_compiling():
            return
        names = (variable.name for variable in self._graph.inputs)
        input_refs = {name: weakref.ref(x) for name, x in zip(names, inputs, strict=True)}
        self.__dict__["_input_refs"] = input_refs

    def _warn_if_target_is_input(self, targets: Mapping[str, Tensor]) -> None:
        """Warn once if the target of a prediction is the tensor that the model was called on."""
        if self._has_warned or torch.compiler.is_compiling():
            return
        for output in self._graph.predictions:
            name = target_name(output)
            input_ref = self._input_refs.get(name)
            if input_ref is None or name not in targets or input_ref() is not targets[name]:
                continue
            self._has_warned = True
            warnings.warn(
                f"the target of {output.name} is the very tensor that the model was called on: "
                f"y[t] has read {name}[t], so that this teaches it to copy its input; "
                f"`model.nll({name})` scores predictions, and so does "
                f"`y, _ = model({name}[:-1])` with `model.loss(y, {name}[1:])`",
                stacklevel=3,
            )
            return

    def _swap_batch_time(self, value: Any) -> Any:
        """Swap batch and time axes if `batch_first`; its own inverse."""
        is_swapped = self._batch_first and isinstance(value, Tensor) and value.dim() > 1
        return value.transpose(0, 1) if is_swapped else value

    def _swap_weight(self, weight: Any) -> Any:
        if isinstance(weight, Mapping):
            return {name: self._swap_batch_time(value) for name, value in weight.items()}
        return self._swap_batch_time(weight)

    def _outputs_by_target(self, ys: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Return a caller's outputs by target name, with T in front."""
        return {
            target_name(output): y if output.at_end else self._swap_batch_time(y)
            for output, y in zip(self._graph.outputs, ys, strict=True)
        }

    def _add_auxiliary_losses(self, total: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Add the laws and `loss` terms of the last call to a loss, where they count."""
        graph = self._graph
        if self.training:
            for law, value in zip(graph.laws, self._laws, strict=False):
                total = total + law.weight * value
        if has_auxiliary_losses(graph, training=self.training):
            total = total + auxiliary_loss(graph, self._term_backends, self._last_call, targets)
        return total
