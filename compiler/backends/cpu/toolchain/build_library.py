"""C text -> a loaded library: from the kernel cache, or compiled by the machine's compiler.

Where the cache folder is unusable, kernels are compiled in each process, which is told once.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import signal
import struct
import subprocess
import tempfile
import threading
from collections.abc import Collection
from dataclasses import astuple
from pathlib import Path
from typing import Final, NoReturn

from rnnc.compiler.backends.cache_dir import UnusableCache, cache_folder
from rnnc.compiler.backends.warn_once import warn_once
from rnnc.grammar.diagnostics.errors import fail
from rnnc.grammar.version import __version__

from .c_compiler import FLAGS, ISA_FLAGS, CpuIsa, Toolchain, find_toolchain
from .kernel_cache import build_folder, is_valid_entry, publish_entry

_TIMEOUT: Final = 120.0
"""Seconds for one run of the compiler: many times what the largest models take."""

_loaded: dict[str, ctypes.CDLL] = {}
_lock = threading.Lock()
_timed_out: dict[str, str] = {}
"""Compilers that have hung, and the message of it: nobody waits for one twice."""


def build_library(
    source: str, isa: CpuIsa, *, required_functions: Collection[str] = (), timeout: float = _TIMEOUT
) -> ctypes.CDLL:
    """Compile a C text for an instruction set and load the library; once a process.

    required_functions: names that the library must define.

    Raises:
        RnnError: RNN503, when there is no compiler, or it fails, hangs or cannot write, or its
            library does not load or lacks a function.
    """
    toolchain = find_toolchain()
    key = _key(source, isa, toolchain)
    with _lock:
        library = _loaded.get(key)
        if library is None:
            library = _loaded[key] = _load_or_compile(
                source, isa, toolchain, key, required_functions, timeout
            )
    return library


def compiler_flags(isa: CpuIsa, toolchain: Toolchain) -> tuple[str, ...]:
    """Return the flags of a compilation."""
    return (*FLAGS, *ISA_FLAGS[isa], *(("-fopenmp",) if toolchain.openmp else ()))


def _key(source: str, isa: CpuIsa, toolchain: Toolchain) -> str:
    parts = [__version__, source, compiler_flags(isa, toolchain), astuple(toolchain)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _load_or_compile(
    source: str,
    isa: CpuIsa,
    toolchain: Toolchain,
    key: str,
    required_functions: Collection[str],
    timeout: float,
) -> ctypes.CDLL:
    try:
        folder = cache_folder()
        entry = folder / f"{key}.so"
        if is_valid_entry(entry):
            # A whole entry may still hold a bad library of a faulty compiler: build it again.
            with contextlib.suppress(_UnusableLibrary):
                return _load(entry, required_functions)
        with build_folder(folder) as build:
            compiled = _compile(source, isa, toolchain, Path(build), timeout)
            # Load it under its temporary name: for a known name the loader returns the old library.
            library = _load(compiled, required_functions)
            publish_entry(compiled, entry)
            return library
    except (UnusableCache, OSError) as error:
        warn_once(f"rnnc: kernels are compiled anew in each process: {error}")
    except _UnusableLibrary as error:
        _fail_unusable(toolchain, error)
    try:
        # Private to this process (mode 0700), and gone once the library is mapped.
        with tempfile.TemporaryDirectory(prefix="rnnc-") as build:
            compiled = _compile(source, isa, toolchain, Path(build), timeout)
            return _load(compiled, required_functions)
    except OSError as error:
        fail("RNN503", f"the compiled kernels cannot be written or loaded: {error}")
    except _UnusableLibrary as error:
        _fail_unusable(toolchain, error)


class _UnusableLibrary(Exception):
    """A library that does not load, or lacks a function; the text tells which."""


def _load(path: Path, required_functions: Collection[str]) -> ctypes.CDLL:
    try:
        if _is_truncated(path.read_bytes()):
            raise OSError("it is cut off")
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise _UnusableLibrary(f"that does not load: {error}") from None
    missing = [name for name in required_functions if not hasattr(library, name)]
    if missing:
        raise _UnusableLibrary(f"without the function `{missing[0]}`")
    return library


def _is_truncated(content: bytes) -> bool:
    """Return true if an ELF file ends before a segment of it: touching that kills a process."""
    if content[:6] != b"\x7fELF\2\1":
        return False
    try:
        start, size, count = struct.unpack_from("<32xQ14xHH", content)
        for number in range(count):
            offset, length = struct.unpack_from("<8xQ16xQ", content, start + number * size)
            if offset + length > len(content):
                return True
    except struct.error:
        return True
    return False


def _fail_unusable(toolchain: Toolchain, error: _UnusableLibrary) -> NoReturn:
    fail(
        "RNN503",
        f"the C compiler {toolchain.compiler} has written a library {error}",
        hint="name another compiler in CC, or use backend aten",
    )


def _compile(source: str, isa: CpuIsa, toolchain: Toolchain, build: Path, timeout: float) -> Path:
    text, compiled, library = build / "model.c", build / "model.o", build / "model.so"
    if toolchain.compiler in _timed_out:
        fail("RNN503", _timed_out[toolchain.compiler])
    text.write_text(source, encoding="utf-8")
    _run([toolchain.compiler, *compiler_flags(isa, toolchain), "-c", text, "-o", compiled], timeout)
    runtime = [toolchain.openmp] if toolchain.openmp else []
    _run([toolchain.compiler, "-shared", compiled, "-o", library, *runtime, "-lm"], timeout)
    return library


def _run(command: list[str | Path], timeout: float) -> None:
    # In a process group of its own, so that a hung compiler is killed with its children.
    with subprocess.Popen(  # noqa: S603 - the user's own compiler
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C"},
        start_new_session=True,
    ) as process:
        try:
            errors = process.communicate(timeout=timeout)[1]
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            compiler = str(command[0])
            _timed_out[compiler] = f"the C compiler {compiler} did not finish in {timeout:g} s"
            fail("RNN503", _timed_out[compiler])
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        messages = errors.decode(errors="replace").strip().splitlines()
        if any("No space left" in line for line in messages):
            raise OSError(28, "no space left on the disk")
        default = messages[0] if messages else "no message"
        first = next((line for line in messages if "error" in line), default)
        fail("RNN503", f"the C compiler {command[0]} failed ({process.returncode}): {first}")
