"""How each backend takes part in the search: what it needs around it, and how it fails."""

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
"""What can be searched; all but `oracle` are held against the reference, which it is held to."""

SANITIZERS = ("-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def describe_failure(
    backend: str, text: str, sizes: Mapping[str, int], call: CallConfig, **options: Any
) -> str | None:
    """In which way a case fails, in a few words; None where it does not.

    A backend that says that it cannot run a spec has not failed (`is_unsupported`).
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            assert_call_agrees(text, call, backend, sizes=sizes, **options)
    except Exception as error:
        return classify_error(error)
    return None


def classify_error(error: Exception) -> str:
    """An exception as one of a few ways to fail."""
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    said = str(error).strip().split("\n")[0]
    if isinstance(error, AssertionError) and f"{os.sep}support{os.sep}" in last:
        return "gives other numbers" if "nan" not in said else "gives no number"
    return re.sub(r"[\d.]+|%\w+|'[^']*'|`[^`]*`", "…", f"{type(error).__name__}: {said}")[:80]


def is_unsupported(failure: str) -> bool:
    """Whether a backend said that it does not run a spec, which is its right."""
    return failure.startswith("Unsupported: ") or ("RNN…" in failure and "cannot run" in failure)


C_FAULTS = {
    "": ("", ""),
    "tail": ("n - first < LANES ? n - first : LANES", "n - first <= LANES ? n - first + 1 : LANES"),
}
"""Faults that can be planted in generated C, for the sanitizers to find."""


@contextmanager
def search_environment(
    backend: str, flags: str, *, sanitize: bool = False, single: bool = False, plant: str = ""
) -> Iterator[None]:
    """What must hold while a backend is searched: flags of the compiler, small tiles.

    sanitize: small work is shared among threads, too; single: in float32.
    """
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        if backend == "cpu":
            from rnnc.compiler.backends.cpu.toolchain import build_library, c_compiler

            said = [*flags.split(), *(SANITIZERS if sanitize else ())]
            patch.setattr(build_library, "FLAGS", (*c_compiler.FLAGS, *said))
            _plant_c_fault(patch, *C_FAULTS[plant])
        if sanitize:
            _force_threading(patch)
        if single:
            patch.setattr(torch.nn.Module, "double", lambda self: self.float())
        if backend == "cuda":
            _use_interpreter(patch)
        # A call's own plan is what is tried; the one of a usual call would be made for nothing.
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
    """Several tiles of rows and columns of small networks, in Triton's interpreter."""
    from rnnc.compiler.backends.cuda.autotune.tile_sizes import Tiling
    from rnnc.compiler.backends.cuda.codegen.stage_kernels import TritonKernel
    from rnnc.compiler.backends.cuda.execution import engine
    from rnnc.compiler.backends.cuda.schedule.loop_strategy import STRATEGY_VARIABLE

    assert os.environ.get("TRITON_INTERPRET") == "1", "cuda is searched with TRITON_INTERPRET=1"

    def tiling_of(kernel: TritonKernel, bytes_: int) -> Tiling:
        if kernel.matmuls:
            return Tiling(2, 4, 4, 1)
        return Tiling(16 if kernel.kind == "rows" else 4, 1 if kernel.width == 1 else 4, 1, 1)

    patch.setenv(STRATEGY_VARIABLE, "graph")
    patch.setattr(engine, "default_tiling", tiling_of)


def compile_together(
    cases: Sequence[Callable[[], Any]], backend: str
) -> Iterator[Callable[[], Any]]:
    """The same cases; generated C of many of them is compiled at once."""
    if backend != "cpu":
        yield from cases
        return
    from support.comparison.shared_library import compile_in_one_library

    with pytest.MonkeyPatch.context() as patch:
        yield from compile_in_one_library(cases, patch)


def sanitized_environment() -> dict[str, str] | None:
    """The environment of a process that the sanitizers' runtimes are loaded into first."""
    compiler, paths = os.environ.get("CC", "gcc"), []
    for name in ("libasan.so", "libubsan.so"):
        try:
            told = subprocess.run(
                [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=False
            )
        except OSError:
            return None
        path = Path(told.stdout.strip())
        if not (path.is_absolute() and path.exists()):
            return None
        paths.append(str(path.resolve()))
    return {
        **os.environ,
        "LD_PRELOAD": ":".join(paths),
        # Python and torch keep memory until the end, and that is no fault of generated code.
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
