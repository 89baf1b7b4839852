"""Match the targets and weights of a loss, given by name or in order, with outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from rnnc.compiler.calls.tensor_storage import check_dense
from rnnc.operators.graph.operator_graph import OperatorGraph, Output

from .losses import weighted_losses


def target_name(output: Output) -> str:
    """Return the name of an output's target: its own, or that of the input it predicts."""
    return output.predicted_input or output.name


def has_auxiliary_losses(graph: OperatorGraph, *, training: bool) -> bool:
    """Return True if `loss` lines count: in training, or if no output is scored."""
    return graph.loss_graph is not None and (training or len(graph.scored_outputs) == 0)


def targets_by_name(graph: OperatorGraph, target: Any, *, training: bool) -> dict[str, Tensor]:
    """Return targets by the name of their variable; a dictionary may leave outputs out.

    Those of scored outputs stand first, in their order; behind them come the next values of inputs
    that only `loss` lines read, which no tuple can give.

    Raises:
        ValueError: for names or a number of targets that do not fit, or one that a `loss` line
            needs and does not get.
    """
    names = [target_name(output) for output in graph.scored_outputs]
    next_values = [variable.name for variable in graph.loss_targets]
    known = dict.fromkeys([*names, *next_values])
    tensors = (
        {}
        if target is None and not names
        else _tensors_by_name("target", target, names, list(known))
    )
    if has_auxiliary_losses(graph, training=training):
        missing = [name for name in next_values if name not in tensors]
        if missing:
            raise ValueError(
                f"target: a `loss` line reads the next value of {missing[0]}, expected it as "
                f'{{"{missing[0]}": …}}, got {sorted(tensors) or "none"}'
            )
    return {name: tensors[name] for name in known if name in tensors}


def weights_by_name(outputs: Sequence[Output], weight: Any) -> dict[str, Tensor | None]:
    """Return the weight of each scored output by target name; None is 1 at each step.

    A tensor is the weight of all of them; outputs that a dictionary does not name have none.

    Raises:
        ValueError: for another type, or a name that none of the outputs has.
    """
    names = [target_name(output) for output in outputs]
    if weight is None or isinstance(weight, Tensor):
        return dict.fromkeys(names, weight)
    if not isinstance(weight, Mapping):
        got = type(weight).__name__
        raise ValueError(f"weight: expected a tensor, or a dictionary of {names}, got {got}")
    return dict(_tensors_by_name("weight", weight, [], names))


def compute_output_losses(
    outputs: Sequence[Output],
    ys: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    lengths: Tensor | None,
    weight: Any,
) -> list[tuple[Tensor, Tensor]]:
    """Compute losses and weights, as `weighted_losses`, of each output with a target.

    outputs: the scored outputs; `ys` and `targets` by the names of their variables, with T
    in front.

    Raises:
        ValueError: if a target or a weight does not fit its output, with the output's name.
    """
    weights = weights_by_name(outputs, weight)
    losses: list[tuple[Tensor, Tensor]] = []
    for output in outputs:
        name = target_name(output)
        if name not in targets:
            continue
        if name not in weights:
            zeros = ys[name].new_zeros(ys[name].shape[:-1])
            losses.append((zeros, zeros))
            continue
        output_lengths = None if output.at_end else lengths
        try:
            losses.append(
                weighted_losses(
                    output.type.kind, ys[name], targets[name], output_lengths, weights[name]
                )
            )
        except ValueError as error:
            if len(outputs) == 1:
                raise
            raise ValueError(f"{name}: {error}") from None
    return losses


def _tensors_by_name(
    argument: str, tensors: Any, names: Sequence[str], known: Sequence[str]
) -> Mapping[str, Tensor]:
    """Check tensors by name; `names` are those of a tuple, or of a lone tensor."""
    if isinstance(tensors, Tensor):
        tensors = (tensors,)
    if isinstance(tensors, tuple | list):
        if len(tensors) != len(names):
            raise ValueError(
                f"{argument}: expected a tensor for each of {names}, got {len(tensors)}"
            )
        tensors = dict(zip(names, tensors, strict=True))
    if not isinstance(tensors, Mapping):
        got = type(tensors).__name__
        raise ValueError(f"{argument}: expected a tensor for each of {names}, got {got}")
    if not tensors.keys() <= set(known):
        raise ValueError(
            f"{argument}: expected some of {list(known)}, got {sorted(map(str, tensors))}"
        )
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise ValueError(
                f"{argument}: expected a tensor for {name}, got {type(value).__name__}"
            )
        check_dense(f"{argument} for {name}", value)
    return tensors
