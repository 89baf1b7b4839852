"""Arguments and results of one call of a model, as every backend takes and returns them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnnc.operators.graph.operator_graph import OperatorGraph

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Call:
    """Call of a model: T steps of B rows, with checked arguments and drawn random numbers.

    parameters: by name, weight-drop applied.
    inputs: by name; (T, B, n), or (T, B) of int64 for symbols, −1 being no symbol.
    carry: by name of state or input; (k, B, n) or (k, B), oldest first: the k values before the
        first step. States that run backward have none.
    initial_values: by name of state; (B, n): the value before the segment that goes on at the
        first step.
    reset_values: by name of a state with a drawn initial value; (T, B, n): that value for a
        segment that is reset before step t.
    masks: by node; in training only. dropout (T, B, n) and variational (B, n) hold factors,
        zoneout (T, B, n) booleans that are true where the old value stays.
    lengths: (B,) of int64, or None when all rows have T steps.
    resets: (T, B) of bool, or None.
    age: (B,) of int64: how many steps before the first one belong to the segment that goes on
        there; only for models with windows, which must know what is missing.
    training: evaluate laws, and the inputs of `loss` terms.
    steps, batch_size: T and B.
    """

    graph: OperatorGraph
    parameters: Mapping[str, Tensor]
    inputs: Mapping[str, Tensor]
    carry: Mapping[str, Tensor]
    initial_values: Mapping[str, Tensor]
    reset_values: Mapping[str, Tensor]
    masks: Mapping[int, Tensor]
    lengths: Tensor | None
    resets: Tensor | None
    training: bool
    steps: int
    batch_size: int
    age: Tensor | None = None


@dataclass(frozen=True, slots=True)
class CallResult:
    """Result of a call.

    outputs: in the graph's order; (T, B, m), zero past a row's length; at the end, (B, m).
    carry: as in `Call`, for the call that goes on from here.
    laws: in the graph's order; (T, B): the squared difference of both sides, averaged over their
        entries; not yet masked. Empty outside of training.
    loss_inputs: in the graph's order; (T, B, n): the values that `loss` terms need. Empty outside
        of training.
    """

    outputs: tuple[Tensor, ...]
    carry: Mapping[str, Tensor]
    laws: tuple[Tensor, ...]
    loss_inputs: tuple[Tensor, ...] = ()
