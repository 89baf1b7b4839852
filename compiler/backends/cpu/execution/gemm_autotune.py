"""GEMM autotuning: time generated and library GEMM once for each size and cache the faster one.

The choice for a size precedes the first use of its results and never changes within a process, so
that equal inputs give equal bits. The file of choices lies beside the kernels and is for one
processor, torch and version of the kernels; a torn or foreign file counts as empty.
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
"""The environment variable that forces a choice: `own`, `torch`, or `measured`."""

KERNEL_COST_VERSION: Final = 2
"""To count up with each change of the time that generated GEMMs take."""

_ROUNDS: Final = 7
"""Timed rounds; the least time of each implementation counts, which few disturbances reach."""

_MAX_SECONDS: Final = 0.6
"""Seconds after which no further round begins: a first call should not seem to hang."""

_MAX_LIBRARY_RATIO: Final = 0.95
"""The part of the generated code's time below which torch is chosen. It must win clearly: its
results are read once more from memory."""

_MAX_FILE_BYTES: Final = 1 << 20
"""Bytes of the largest file of choices that is read; a choice takes about a hundred."""


@dataclass
class GemmAutotuner:
    """The choices of this process and of earlier ones.

    clock: returns seconds.
    choices: by the key of a `GemmAlternative`.
    """

    clock: Callable[[], float] = time.perf_counter
    choices: dict[str, GemmImplementation] = field(default_factory=dict)
    _is_loaded: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def lookup(self, key: str) -> GemmImplementation | None:
        """Return the implementation for a key; None if it is not measured yet.

        Raises:
            RnnError: RNN501, when the environment variable has another value.
        """
        forced = os.environ.get(ENVIRONMENT_VARIABLE, "")
        if forced == "own":
            return "own"
        if forced == "torch":
            return "torch"
        if forced not in {"", "measured"}:
            fail(
                "RNN501", f"{ENVIRONMENT_VARIABLE}={forced}, but it is one of own, torch, measured"
            )
        if not self._is_loaded:
            with self._lock:
                self.choices = {**_load_choices(), **self.choices}
                self._is_loaded = True
        return self.choices.get(key)

    def benchmark(
        self, key: str, generated: Callable[[], None], library: Callable[[], None]
    ) -> GemmImplementation:
        """Time both implementations of the same work, cache the faster one, and run it last.

        The result in memory is then that of the implementation that later calls use.
        """
        implementations: tuple[tuple[GemmImplementation, Callable[[], None]], ...] = (
            ("own", generated),
            ("torch", library),
        )
        least: dict[GemmImplementation, float] = {}
        start = self.clock()
        for round_ in range(1 + _ROUNDS):
            for name, run in implementations:
                begin = self.clock()
                run()
                seconds = self.clock() - begin
                # The first round warms caches and makes lazy structures.
                if round_:
                    least[name] = min(seconds, least.get(name, seconds))
            if round_ and self.clock() - start > _MAX_SECONDS:
                break
        choice: GemmImplementation = (
            "torch" if least["torch"] < _MAX_LIBRARY_RATIO * least["own"] else "own"
        )
        with self._lock:
            # Of two threads that have measured at the same time the first one decides.
            choice = self.choices.setdefault(key, choice)
            _save_choices(self.choices)
        dict(implementations)[choice]()
        return choice


GEMM_AUTOTUNER: Final = GemmAutotuner()
"""The autotuner of this process."""


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
    return {key: choice for key, choice in choices.items() if choice in {"own", "torch"}}


def _save_choices(own_choices: dict[str, GemmImplementation]) -> None:
    """Merge the choices into the file; an unusable cache folder is no error, only slower."""
    try:
        path = _choices_file()
        choices = {**own_choices, **_load_choices()}
        text = json.dumps({"choices": choices, "mark": _checksum(choices)}, indent=1)
        with build_folder(path.parent) as folder:
            new_file = Path(folder) / path.name
            new_file.write_text(text, encoding="utf-8")
            new_file.replace(path)
    except (UnusableCache, OSError):
        return


def _checksum(choices: object) -> str:
    return hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()
