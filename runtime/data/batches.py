"""Which sequences go into a batch together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

LENGTH_JITTER: Final = 0.2
"""By how much of itself a length may be taken as longer, so that every epoch has other batches."""


def shuffle_by_length(
    lengths: Sequence[int], batch_size: int, *, seed: int, epoch: int
) -> list[list[int]]:
    """Indices of the sequences of each batch of an epoch, of similar length within a batch.

    Every index comes exactly once. The same seed and epoch give the same batches; another epoch
    gives other batches in another order. All batches but one have `batch_size` sequences.
    """
    random = np.random.default_rng((seed, epoch))
    blurred = np.asarray(lengths) * (1 + LENGTH_JITTER * random.random(len(lengths)))
    order = np.argsort(blurred, kind="stable").tolist()
    # The rest goes to the shortest sequences, where a batch that is not full costs least.
    rest = len(order) % batch_size
    starts = list(range(rest, len(order), batch_size))
    batches = [order[start : start + batch_size] for start in starts]
    if rest:
        batches.append(order[:rest])
    return [batches[i] for i in random.permutation(len(batches)).tolist()]


def sort_by_length(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Indices of the sequences of each batch, shortest first, always the same."""
    order = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
