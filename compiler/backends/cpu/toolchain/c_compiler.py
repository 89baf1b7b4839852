"""What builds C here: the compiler, the processor's vector instructions, torch's OpenMP runtime."""

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

ISA_FLAGS: Final[dict[CpuIsa, tuple[str, ...]]] = {
    "avx512": (
        *("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"),
        "-mprefer-vector-width=512",
    ),
    "avx2": ("-mavx2", "-mfma"),
    "plain": (),
}
VECTOR_BYTES: Final[dict[CpuIsa, int]] = {"avx512": 64, "avx2": 32, "plain": 16}

# No -ffast-math: linked with it, a library makes its whole process flush denormals and assume that
# there is no NaN. Contraction to fused multiply-adds is all that is taken from it.
FLAGS: Final = ("-std=gnu11", "-O2", "-fPIC", "-ffp-contract=fast", "-fno-math-errno", "-w")


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A C compiler and what it is to build for.

    openmp: the OpenMP runtime that torch has loaded, or None: then kernels run on one thread.
    """

    compiler: str
    version: str
    processor: str
    openmp: str | None


def find_toolchain() -> Toolchain:
    """The machine's C compiler: what CC names, else cc, gcc or clang.

    Raises:
        RnnError: RNN503, when there is none, or it does not answer.
    """
    named = os.environ.get("CC")
    for name in [named] if named else ["cc", "gcc", "clang"]:
        found = shutil.which(name)
        if found:
            return Toolchain(found, _version(found), processor(), openmp_runtime())
    what = f"CC names `{named}`, which is not there" if named else "there is no cc, gcc or clang"
    fail("RNN503", f"no C compiler: {what}", hint="install gcc or clang, or use backend aten")


def host_isa() -> CpuIsa:
    """The widest vector instructions that torch, too, uses on this processor."""
    import torch

    match torch.backends.cpu.get_cpu_capability():
        case "AVX512":
            return "avx512"
        case "AVX2":
            return "avx2"
    return "plain"


def openmp_runtime() -> str | None:
    """The path of the OpenMP runtime in this process, which torch has brought along.

    A second runtime beside it would start a second team of threads, and fight it for the cores.
    """
    import torch

    loaded = _find_loaded_openmp()
    if loaded:
        return loaded[0]
    beside = sorted(Path(torch.__file__).with_name("lib").glob("libgomp*.so*"))
    return str(beside[0]) if beside else None


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
        told = subprocess.run(  # noqa: S603 - the user's own compiler
            [compiler, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        fail("RNN503", f"the C compiler {compiler} does not tell its version: {error}")
    return told.stdout.partition("\n")[0]


@cache
def processor() -> str:
    """The processor of this machine, by what it says of itself."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    wanted = ("model name", "flags", "Features", "CPU part")
    lines = dict.fromkeys(line for line in text.splitlines() if line.startswith(wanted))
    return platform.machine() + " " + " ".join(" ".join(line.split()) for line in lines)
