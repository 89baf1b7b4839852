"""Own products or torch's: which are faster here, measured once for each size and remembered.

The choice for a size is made before its results are used for the first time, and never changes
within a process: the same inputs give the same bits. On disk it lies beside the kernels, for this
processor, this torch and these kernels; what is torn there, or not ours, counts as nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from rnnc.compiler.backends.cache_dir import UnusableCache, cache_folder, read_owned_file
from rnnc.compiler.backends.cpu.toolchain.c_compiler import processor
from rnnc.compiler.backends.cpu.toolchain.kernel_cache import build_folder
from rnnc.grammar.diagnostics.errors import fail
from rnnc.grammar.version import __version__

GemmImplementation = Literal["own", "torch"]

ENVIRONMENT_VARIABLE: Final = "RNNC_PRODUCTS"
"""The environment variable that settles the choice: `own`, `torch`, or `measured`."""

KERNEL_COST_VERSION: Final = 2
"""Counts up with each change of what products cost."""

_ROUNDS: Final = 7
_MAX_SECONDS: Final = 0.6
"""Seconds after which no further round is measured."""

_MAX_LIBRARY_RATIO: Final = 0.95
"""What torch must take of our own time to be chosen: it passes over its results once more."""

_MAX_FILE_BYTES: Final = 1 << 20
"""Bytes of a file of choices that is ours."""


@dataclass
class GemmAutotuner:
    """What has been measured, in this process and before.

    clock: seconds, as `time.perf_counter` has them.
    """

    clock: Callable[[], float] = time.perf_counter
    choices: dict[str, GemmImplementation] = field(default_factory=dict)
    _is_loaded: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def lookup(self, key: str) -> GemmImplementation | None:
        """How products of this size are taken; None before that is measured.

        Raises:
            RnnError: RNN501, when the environment says what is not known.
        """
        said = os.environ.get(ENVIRONMENT_VARIABLE, "")
        if said == "own":
            return "own"
        if said == "torch":
            return "torch"
        if said not in {"", "measured"}:
            fail("RNN501", f"{ENVIRONMENT_VARIABLE}={said}, but it is one of own, torch, measured")
        if not self._is_loaded:
            with self._lock:
                self.choices = {**_load_choices(), **self.choices}
                self._is_loaded = True
        return self.choices.get(key)

    def benchmark(
        self, key: str, generated: Callable[[], None], library: Callable[[], None]
    ) -> GemmImplementation:
        """Measure both ways, of which each computes the same; the faster one has the last word."""
        ways: tuple[tuple[GemmImplementation, Callable[[], None]], ...] = (
            ("own", generated),
            ("torch", library),
        )
        least: dict[GemmImplementation, float] = {}
        begin = self.clock()
        for number in range(1 + _ROUNDS):
            for name, run in ways:
                before = self.clock()
                run()
                taken = self.clock() - before
                # The first round finds caches cold, and what is made but once.
                if number:
                    least[name] = min(taken, least.get(name, taken))
            if number and self.clock() - begin > _MAX_SECONDS:
                break
        found: GemmImplementation = (
            "torch" if least["torch"] < _MAX_LIBRARY_RATIO * least["own"] else "own"
        )
        with self._lock:
            # Of two threads that have measured at the same time the first one is right.
            found = self.choices.setdefault(key, found)
            _save_choices(self.choices)
        dict(ways)[found]()
        return found


GEMM_AUTOTUNER: Final = GemmAutotuner()
"""Those of this process."""


def _choices_file() -> Path:
    import torch

    parts = [__version__, KERNEL_COST_VERSION, processor(), torch.__version__]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return cache_folder() / f"products-{digest[:32]}.json"


def _load_choices() -> dict[str, GemmImplementation]:
    try:
        content = read_owned_file(_choices_file(), _MAX_FILE_BYTES)
        if content is None:
            return {}
        document = json.loads(content)
        choices, mark = document["choices"], document["mark"]
    except (UnusableCache, ValueError, KeyError, TypeError):
        return {}
    if mark != _checksum(choices) or not isinstance(choices, dict):
        return {}
    return {key: way for key, way in choices.items() if way in {"own", "torch"}}


def _save_choices(known: dict[str, GemmImplementation]) -> None:
    """Write the choices, those of other processes too; a cache that cannot be written is none."""
    try:
        path = _choices_file()
        choices = {**known, **_load_choices()}
        text = json.dumps({"choices": choices, "mark": _checksum(choices)}, indent=1)
        with build_folder(path.parent) as place:
            fresh = Path(place) / path.name
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(path)
    except (UnusableCache, OSError):
        return


def _checksum(choices: object) -> str:
    return hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()
