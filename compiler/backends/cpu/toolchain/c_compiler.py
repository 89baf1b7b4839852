"""The C toolchain of this machine: compiler, vector instruction set, torch's OpenMP runtime."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from rnnc.grammar.diagnostics.errors import fail

CpuIsa = Literal["avx512", "avx2", "plain"]
"""A vector instruction set; `plain` is 16 bytes wide, which every supported processor has."""

ISA_FLAGS: Final[dict[CpuIsa, tuple[str, ...]]] = {
    "avx512": (
        *("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"),
        "-mprefer-vector-width=512",
    ),
    "avx2": ("-mavx2", "-mfma"),
    "plain": (),
}
VECTOR_BYTES: Final[dict[CpuIsa, int]] = {"avx512": 64, "avx2": 32, "plain": 16}

# No -ffast-math: a library linked with it makes its whole process flush denormals, and code assumes
# that there is no NaN. Of its parts only contraction to fused multiply-adds is taken.
FLAGS: Final = ("-std=gnu11", "-O2", "-fPIC", "-ffp-contract=fast", "-fno-math-errno", "-w")


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A C compiler and its target.

    openmp: path of the OpenMP runtime that torch has loaded; None makes kernels single-threaded.
    """

    compiler: str
    version: str
    processor: str
    openmp: str | None


def find_toolchain() -> Toolchain:
    """Find the C compiler: the one that CC names, else cc, gcc or clang.

    Raises:
        RnnError: RNN503, when there is none, or it does not tell its version.
    """
    named = os.environ.get("CC")
    for name in [named] if named else ["cc", "gcc", "clang"]:
        path = shutil.which(name)
        if path:
            return Toolchain(path, _version(path), processor(), openmp_runtime())
    reason = f"CC names `{named}`, which is not there" if named else "there is no cc, gcc or clang"
    fail("RNN503", f"no C compiler: {reason}", hint="install gcc or clang, or use backend aten")


def host_isa() -> CpuIsa:
    """Return the widest vector instruction set that torch uses on this processor, too."""
    import torch

    match torch.backends.cpu.get_cpu_capability():
        case "AVX512":
            return "avx512"
        case "AVX2":
            return "avx2"
    return "plain"


def openmp_runtime() -> str | None:
    """Return the path of the OpenMP runtime that torch has loaded into this process.

    A second runtime would start a second team of threads, which compete for the same cores.
    """
    import torch

    loaded = _find_loaded_openmp()
    if loaded:
        return loaded[0]
    bundled = sorted(Path(torch.__file__).with_name("lib").glob("libgomp*.so*"))
    return str(bundled[0]) if bundled else None


def _find_loaded_openmp() -> list[str]:
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    paths = (line.split(maxsplit=5)[-1] for line in lines)
    return sorted({p for p in paths if re.match(r"lib(gomp|iomp5|omp)\b.*\.so", Path(p).name)})


@cache
def _version(compiler: str) -> str:
    try:
        process = subprocess.run(  # noqa: S603 - the user's own compiler
            [compiler, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        fail("RNN503", f"the C compiler {compiler} does not tell its version: {error}")
    return process.stdout.partition("\n")[0]


@cache
def processor() -> str:
    """Return the model and features of this machine's processor, as the system tells them."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    fields = ("model name", "flags", "Features", "CPU part")
    lines = dict.fromkeys(line for line in text.splitlines() if line.startswith(fields))
    return platform.machine() + " " + " ".join(" ".join(line.split()) for line in lines)
