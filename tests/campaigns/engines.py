"""Search environments of the backends, and a classification of failures."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnc.compiler.backends.aten.plan_runner import PlanRunner
from support.comparison.cases import assert_call_agrees
from support.generator.calls import CallConfig

BACKENDS = ("aten", "cpu", "cuda", "oracle")
"""Searchable backends, checked against the reference; `oracle` checks the reference itself."""

SANITIZERS = ("-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def describe_failure(
    backend: str, text: str, sizes: Mapping[str, int], call: CallConfig, **options: Any
) -> str | None:
    """Describe how a call fails, in a few words; None if it does not.

    A backend that reports a spec as unsupported has not failed (`is_unsupported`).
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            assert_call_agrees(text, call, backend, sizes=sizes, **options)
    except Exception as error:
        return classify_error(error)
    return None


def classify_error(error: Exception) -> str:
    """Classify an exception by its type and message."""
    file = traceback.extract_tb(error.__traceback__)[-1].filename
    message = str(error).strip().split("\n")[0]
    if isinstance(error, AssertionError) and f"{os.sep}support{os.sep}" in file:
        return "gives other numbers" if "nan" not in message else "gives no number"
    return re.sub(r"[\d.]+|%\w+|'[^']*'|`[^`]*`", "…", f"{type(error).__name__}: {message}")[:80]


def is_unsupported(failure: str) -> bool:
    """Test that a failure is a backend's report of an unsupported spec."""
    reports = ("cannot run", "no backend runs this model")
    is_report = "RNN…" in failure and any(report in failure for report in reports)
    return is_report or failure.startswith("Unsupported: ")


C_FAULTS = {
    "": ("", ""),
    "tail": ("n - first < LANES ? n - first : LANES", "n - first <= LANES ? n - first + 1 : LANES"),
}
"""Faults for injection into generated C, for the sanitizers to find."""


@contextmanager
def search_environment(
    backend: str, flags: str, *, sanitize: bool = False, single: bool = False, plant: str = ""
) -> Iterator[None]:
    """Set up a backend's search: compiler flags, small tiles.

    sanitize: share even small work among threads; single: use float32.
    """
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        if backend == "cpu":
            from rnnc.compiler.backends.cpu.toolchain import build_library, c_compiler

            extra_flags = [*flags.split(), *(SANITIZERS if sanitize else ())]
            patch.setattr(build_library, "FLAGS", (*c_compiler.FLAGS, *extra_flags))
            _plant_c_fault(patch, *C_FAULTS[plant])
        if sanitize:
            _force_threading(patch)
        if single:
            patch.setattr(torch.nn.Module, "double", lambda self: self.float())
        # Search each call's own plan; the widened gradient signature would cost compile time.
        if backend == "cuda":
            _use_interpreter(patch)
        else:
            patch.setattr(PlanRunner, "training_plan", lambda self: None)
        yield


def _plant_c_fault(patch: pytest.MonkeyPatch, old: str, new: str) -> None:
    from rnnc.compiler.backends.cpu.codegen import emitter
    from support.comparison import shared_library

    def prelude(*levels: Any, **options: Any) -> str:
        text = emitter.prelude(*levels, **options)
        assert old in text
        return text.replace(old, new)

    if old:
        patch.setattr(shared_library, "prelude", prelude)


def _force_threading(patch: pytest.MonkeyPatch) -> None:
    from rnnc.compiler.backends.cpu.specialize import shape_specialization, thread_partition

    patch.setattr(torch, "get_num_threads", lambda: 2)
    for name in ("MIN_WORK_TO_THREAD", "MIN_WEIGHTS_TO_SPLIT_COLUMNS"):
        patch.setattr(thread_partition, name, 0)
    patch.setattr(shape_specialization, "MIN_ROWS_TO_PACK", 0)


def _use_interpreter(patch: pytest.MonkeyPatch) -> None:
    """Force several small tiles, for Triton's interpreter."""
    from rnnc.compiler.backends.cuda.autotune.tile_sizes import Tiling
    from rnnc.compiler.backends.cuda.codegen.triton_kernel import TritonKernel
    from rnnc.compiler.backends.cuda.execution import kernel_launch
    from rnnc.compiler.backends.cuda.schedule.loop_strategy import STRATEGY_VARIABLE

    assert os.environ.get("TRITON_INTERPRET") == "1", "cuda is searched with TRITON_INTERPRET=1"

    def tiling_of(kernel: TritonKernel, bytes_: int) -> Tiling:
        if kernel.matmuls:
            return Tiling(2, 4, 4, 1)
        return Tiling(16 if kernel.kind == "rows" else 4, 1 if kernel.width == 1 else 4, 1, 1)

    patch.setenv(STRATEGY_VARIABLE, "graph")
    patch.setattr(kernel_launch, "default_tiling", tiling_of)


def compile_together(
    cases: Sequence[Callable[[], Any]], backend: str
) -> Iterator[Callable[[], Any]]:
    """Return the same cases; those for `cpu` share one C compilation."""
    if backend != "cpu":
        yield from cases
        return
    from support.comparison.shared_library import compile_in_one_library

    with pytest.MonkeyPatch.context() as patch:
        yield from compile_in_one_library(cases, patch)


def sanitized_environment() -> dict[str, str] | None:
    """Return an environment that preloads the sanitizers' runtimes."""
    compiler, paths = os.environ.get("CC", "gcc"), []
    for name in ("libasan.so", "libubsan.so"):
        try:
            process = subprocess.run(
                [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=False
            )
        except OSError:
            return None
        path = Path(process.stdout.strip())
        if not (path.is_absolute() and path.exists()):
            return None
        paths.append(str(path.resolve()))
    return {
        **os.environ,
        "LD_PRELOAD": ":".join(paths),
        # Python and torch leak memory at exit; generated code is not at fault.
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
