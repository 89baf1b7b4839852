"""Triton source of a grid barrier with a bounded wait, built on a monotonic counter.

Each program increments the counter of its group and polls until all programs have done so. The
increment has acquire-release semantics at GPU scope and stands between two barriers of the block's
threads, so every store before the barrier is visible to every thread after it. A program that
polls in vain goes on, computes NaN from then on, and sets an error flag.
"""

from __future__ import annotations

from typing import Final

MAX_POLLS: Final = 1 << 22
"""Polls before a program gives up: about 4 s at 1 µs a poll."""

COUNTER_STRIDE: Final = 16
"""64-bit numbers from one counter to the next: 128 bytes, so counters share no cache line."""

BARRIER_SOURCE: Final = '''
@triton.jit
def grid_barrier(counter, barriers, polls_left):
    """Wait for all programs of a group; return the poll limit, or 0 after a timeout."""
    tl.debug_barrier()
    target = tl.cast(barriers, tl.int64) * tl.num_programs(0)
    arrived = tl.atomic_add(counter, 1, sem="acq_rel", scope="gpu") + 1
    polls = 0
    while (arrived < target) & (polls < polls_left):
        arrived = tl.atomic_add(counter, 0, sem="acquire", scope="gpu")
        polls += 1
    tl.debug_barrier()
    return tl.where(arrived < target, 0, polls_left)
'''
