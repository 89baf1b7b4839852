"""Where the programs of a grid meet: after each stage, before any of them goes on.

Each program adds one to its group's counter, which only grows, and waits until all have. That is an
addition with release and acquire semantics at the scope of the GPU, between two barriers of the
program's own threads: what any thread of any program has stored before, any other one sees after.
Nobody waits for ever: who has asked too often goes on, computes nothing but NaN, and says so.
"""

from __future__ import annotations

from typing import Final

MAX_POLLS: Final = 1 << 22
"""How often a program asks before it gives up: some seconds, for a question takes about 1 µs."""

COUNTER_STRIDE: Final = 16
"""Numbers of 64 bits from one counter to the next: no two are in one line of the cache."""

BARRIER_SOURCE: Final = '''
@triton.jit
def meet(counter, met, patience):
    """Waits for all programs of a group; the patience that is left, 0 where one never came."""
    tl.debug_barrier()
    target = tl.cast(met, tl.int64) * tl.num_programs(0)
    seen = tl.atomic_add(counter, 1, sem="acq_rel", scope="gpu") + 1
    asked = 0
    while (seen < target) & (asked < patience):
        seen = tl.atomic_add(counter, 0, sem="acquire", scope="gpu")
        asked += 1
    tl.debug_barrier()
    return tl.where(seen < target, 0, patience)
'''
