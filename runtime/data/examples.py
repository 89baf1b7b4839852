"""Training examples: a sequence of inputs with its targets, and padded batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

NO_SYMBOL: Final = -1


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence with its targets.

    `inputs` is (T, n) of float, or (T,) of integers when they are symbols; `target` has one row for
    each of the T steps, or is one row, (m,) or a single symbol (), for an answer at the end. Where
    the answer is the next input, both are the sequence: `model.nll` feeds each step one later.
    """

    inputs: Tensor
    target: Tensor

    def __len__(self) -> int:
        return self.inputs.shape[0]


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences of a batch, padded to one length.

    `inputs` is (T, B, n) or (T, B), padded with zeros or "no symbol"; `target` is (T, B, m) or
    (T, B), padded with zeros, or (B, m) or (B,) for answers at the end; `lengths` is (B,).
    """

    inputs: Tensor
    target: Tensor
    lengths: Tensor


def collate(examples: Sequence[Example], *, at_end: bool = False) -> Batch:
    """Pad sequences to the longest and stack them into a batch."""
    inputs = [example.inputs for example in examples]
    padding = 0 if inputs[0].is_floating_point() else NO_SYMBOL
    targets = [example.target for example in examples]
    return Batch(
        inputs=pad_sequence(inputs, padding_value=padding),
        target=torch.stack(targets) if at_end else pad_sequence(targets),
        lengths=torch.tensor([len(example) for example in examples]),
    )
