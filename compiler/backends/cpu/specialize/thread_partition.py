"""Numbers of threads by the amount of work, and how the threads of a kernel group split it.

Rows are split first. Threads that split the columns of a step wait for each other at every kernel,
which pays where each would otherwise read all weights from memory for few rows.
"""

from __future__ import annotations

from .packed_sequence import PackedSequence

MIN_WORK_TO_THREAD = 1_000_000
"""Multiplications below which starting a second thread costs more than it saves."""

MIN_ADDS_TO_THREAD = 250_000
"""The same in additions: fewer, because their operands come from memory."""

MIN_WEIGHTS_TO_SPLIT_COLUMNS = 500_000
"""Weights of a step from which splitting them saves more than the barriers cost."""

MIN_ROWS_PER_TEAM = 32
"""Rows that make up for reading that many weights from memory at every step."""


def threads_for_multiplies(threads: int, multiplies: int) -> int:
    """Return the threads that are worth starting for some multiplications."""
    return threads if multiplies >= MIN_WORK_TO_THREAD else 1


def threads_for_additions(threads: int, additions: int) -> int:
    """Return the threads that are worth starting for some additions."""
    return threads if additions >= MIN_ADDS_TO_THREAD else 1


def partition_threads(
    threads: int, sequence: PackedSequence, row_work: int, weights: int
) -> tuple[int, int]:
    """Return the threads of a kernel group, and how many of them split the columns of a step.

    row_work: multiplications of one row.
    weights: numbers of all packed matrices of the group.
    """
    if sequence.row_count * row_work < MIN_WORK_TO_THREAD:
        return 1, 1
    if weights < MIN_WEIGHTS_TO_SPLIT_COLUMNS:
        return min(threads, max(1, sequence.batch_size)), 1
    teams = max(
        count
        for count in range(1, threads + 1)
        if threads % count == 0 and count <= max(1, sequence.batch_size // MIN_ROWS_PER_TEAM)
    )
    return threads, threads // teams
