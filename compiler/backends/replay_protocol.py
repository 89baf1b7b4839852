"""What runs a call that is like an earlier one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from rnnc.operators.semantics.call import Call


class Replay(Protocol):
    """Runs calls that differ from an earlier one in the addresses and contents of tensors alone.

    result_shapes: of its results: all outputs, then what is carried on.
    dtype: of all tensors.
    """

    result_shapes: tuple[tuple[int, ...], ...]
    dtype: torch.dtype

    def run(self, tensors: Sequence[Tensor]) -> None:
        """Run a call on contiguous tensors.

        tensors: parameters, inputs and histories in the order of the call, then empty ones for the
            results.
        """


@runtime_checkable
class ReplayingBackend(Protocol):
    """A backend that has a short way for calls that are like an earlier one."""

    def make_replay(self, call: Call) -> Replay | None:
        """What runs calls like this one without gradients; None where there is no shorter way."""
