"""Group sequences into batches by length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

LENGTH_JITTER: Final = 0.2
"""Largest random change of a length, relative to it, so that every epoch has other batches."""


def shuffle_by_length(
    lengths: Sequence[int], batch_size: int, *, seed: int, epoch: int
) -> list[list[int]]:
    """Return the sequence indices of each batch of an epoch, similar lengths together.

    Every index comes exactly once. The same seed and epoch give the same batches; another epoch
    gives other batches in another order. All batches but one have `batch_size` sequences.
    """
    random = np.random.default_rng((seed, epoch))
    jittered = np.asarray(lengths) * (1 + LENGTH_JITTER * random.random(len(lengths)))
    order = np.argsort(jittered, kind="stable").tolist()
    # The partial batch gets the shortest sequences, where it wastes least.
    remainder = len(order) % batch_size
    starts = list(range(remainder, len(order), batch_size))
    batches = [order[start : start + batch_size] for start in starts]
    if remainder:
        batches.append(order[:remainder])
    return [batches[i] for i in random.permutation(len(batches)).tolist()]


def sort_by_length(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Return the sequence indices of each batch, shortest first, always the same."""
    order = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
