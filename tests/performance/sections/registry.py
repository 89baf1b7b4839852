"""All measured sections of docs/performance.md by name, in the order of measuring."""

from __future__ import annotations

from collections.abc import Callable

from performance.sections.epoch import epoch
from performance.sections.first_calls import compiling, latency, memory
from performance.sections.markdown import Section
from performance.sections.networks import cells, deepbench, layers, paper, scans, transitions, words
from performance.sections.scaling import loops, sweeps
from performance.sections.session import Session

SECTIONS: dict[str, Callable[[Session], Section]] = {
    section.__name__: section
    for section in (
        *(layers, transitions, scans, loops, latency, memory, compiling, epoch),
        *(sweeps, paper, words, deepbench),
        cells,  # last: afterwards torch.compile slows every call
    )
}
