"""Protocol of backends that replay a recorded call with other tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from rnnc.operators.semantics.call import Call


class Replay(Protocol):
    """Replay of a recorded call, with other tensors of the same shapes.

    shapes: of the results: all outputs, then the carry.
    dtype: of all tensors.
    """

    result_shapes: tuple[tuple[int, ...], ...]
    dtype: torch.dtype

    def run(self, tensors: Sequence[Tensor]) -> None:
        """Run the call on contiguous tensors.

        tensors: parameters, inputs and histories in the order of the call, then empty ones for the
            results.
        """


@runtime_checkable
class ReplayingBackend(Protocol):
    """Backend that can record a call for replay."""

    def make_replay(self, call: Call) -> Replay | None:
        """Record a call for replay without gradients; None if there is no faster path."""
