"""All rare specs by name, for comparing the oracles."""

from __future__ import annotations

from support.specs.rare_loops import RARE_LOOPS
from support.specs.rare_names import RARE_NAMES
from support.specs.rare_times import RARE_TIMES
from support.specs.rare_windows import RARE_WINDOWS

RARE_SPECS = {**RARE_LOOPS, **RARE_NAMES, **RARE_TIMES, **RARE_WINDOWS}
