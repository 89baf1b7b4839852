"""Values that take the place of another one while it is read for the last time, entry by entry.

    z = W x of all steps; then in the loop   i = σ(z + U h + b)   is stored where z was

One stream of memory less is written. Side condition: nothing but this one stage of a loop reads z,
each entry at its own place and no later than the heir is stored. What is computed for all steps at
once has no heirs: while ways to take its products are timed it runs more than once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rnnc.compiler.ir.ops import ELEMENTWISE

from .frame_layout import Layout, reads_of
from .kernel_partition import Stage, Unit


def heirs_of(
    layout: Layout, units: Iterable[Unit], saved: frozenset[int], stored: frozenset[int]
) -> dict[int, int]:
    """For some values those of `saved` that take their place; `stored` are those of this pass."""
    found: dict[int, int] = {}
    for unit in units:
        own = set(unit.values)
        for stage in unit.stages:
            if unit.direction and not stage.whole:
                found.update(_pairs(layout, stage, saved, stored - own - found.keys()))
    return found


def _pairs(
    layout: Layout, stage: Stage, saved: frozenset[int], earlier: frozenset[int]
) -> Iterator[tuple[int, int]]:
    flow = layout.flow
    order = {number: at for at, number in enumerate(stage.values)}
    kept = layout.delayed | layout.results
    heirs = [
        n
        for n in stage.values
        if n in saved - kept and n in layout.stored and flow.values[n].operation != "state"
    ]
    reads = [r for n in stage.values for r in reads_of(flow, stage, n) if not r.delay]
    for number in dict.fromkeys(r.value for r in reads if r.value in earlier):
        value, readers = flow.values[number], flow.readers[number]
        if number in saved | kept or value.operation == "state":
            continue
        if not all(n in order and flow.values[n].operation in ELEMENTWISE for n in readers):
            continue
        last = max(order[n] for n in readers)
        fitting = (n for n in heirs if order[n] >= last)
        heir = next((n for n in fitting if layout.stride(n) == layout.stride(number)), None)
        if heir is not None:
            heirs.remove(heir)
            yield number, heir
