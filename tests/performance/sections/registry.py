"""The sections of docs/performance.md that are measured, by name, in the order of measuring."""

from __future__ import annotations

from collections.abc import Callable

from performance.epoch import epoch
from performance.growth import loops, sweeps
from performance.markdown import Table
from performance.measuring import Session
from performance.networks import cells, deepbench, layers, paper, scans, transitions, words
from performance.once import compiling, latency, memory

SECTIONS: dict[str, Callable[[Session], Table]] = {
    section.__name__: section
    for section in (
        *(layers, transitions, scans, loops, latency, memory, compiling, epoch),
        *(sweeps, paper, words, deepbench),
        cells,  # last: from then on torch.compile watches what is called
    )
}
