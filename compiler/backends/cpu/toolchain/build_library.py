"""C text -> a loaded library: from the cache, or through the machine's compiler."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Collection
from dataclasses import astuple
from pathlib import Path
from typing import Final, NoReturn

from rnnc.compiler.backends.cache_dir import UnusableCache, cache_folder
from rnnc.grammar.diagnostics.errors import fail
from rnnc.grammar.version import __version__

from .c_compiler import FLAGS, ISA_FLAGS, CpuIsa, Toolchain, find_toolchain
from .kernel_cache import build_folder, is_valid_entry, publish_entry

_TIMEOUT: Final = 120.0
_loaded: dict[str, ctypes.CDLL] = {}
_lock = threading.Lock()
_reported: set[str] = set()
_timed_out: dict[str, str] = {}
"""Compilers that have not finished, and what was said: nobody waits for one twice."""


def build_library(
    source: str, isa: CpuIsa, *, required_functions: Collection[str] = (), timeout: float = _TIMEOUT
) -> ctypes.CDLL:
    """Compile a C text for vector instructions of this level, and load it.

    required_functions: functions that the library must have.

    Raises:
        RnnError: RNN503, when there is no compiler, or it fails, hangs, or cannot write, or what
            it has written does not load or lacks a function.
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
    """The compiler's flags."""
    return (*FLAGS, *ISA_FLAGS[isa], *(("-fopenmp",) if toolchain.openmp else ()))


def _key(source: str, level: CpuIsa, toolchain: Toolchain) -> str:
    parts = [__version__, source, compiler_flags(level, toolchain), astuple(toolchain)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _load_or_compile(
    source: str,
    level: CpuIsa,
    toolchain: Toolchain,
    key: str,
    needs: Collection[str],
    timeout: float,
) -> ctypes.CDLL:
    try:
        folder = cache_folder()
        entry = folder / f"{key}.so"
        if is_valid_entry(entry):
            # What a compiler has once spoiled is whole, too: it is dropped, and made again.
            with contextlib.suppress(_UnusableLibrary):
                return _load(entry, needs)
        with build_folder(folder) as place:
            compiled = _compile(source, level, toolchain, Path(place), timeout)
            # Under a name of its own: the loader takes a name that it knows for the old library.
            library = _load(compiled, needs)
            publish_entry(compiled, entry)
            return library
    except (UnusableCache, OSError) as error:
        _report_once(f"rnnc: kernels are compiled anew in each process: {error}")
    except _UnusableLibrary as error:
        _fail_unusable(toolchain, error)
    try:
        # Private to this process (mode 0700), and gone once the library is mapped.
        with tempfile.TemporaryDirectory(prefix="rnnc-") as place:
            return _load(_compile(source, level, toolchain, Path(place), timeout), needs)
    except OSError as error:
        fail("RNN503", f"the compiled kernels cannot be written or loaded: {error}")
    except _UnusableLibrary as error:
        _fail_unusable(toolchain, error)


class _UnusableLibrary(Exception):
    """A library that does not load, or lacks a function; the text says which."""


def _load(path: Path, needs: Collection[str]) -> ctypes.CDLL:
    try:
        if _is_truncated(path.read_bytes()):
            raise OSError("it is cut off")
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise _UnusableLibrary(f"that does not load: {error}") from None
    lacking = [name for name in needs if not hasattr(library, name)]
    if lacking:
        raise _UnusableLibrary(f"without the function `{lacking[0]}`")
    return library


def _is_truncated(content: bytes) -> bool:
    """Whether a file ends before a segment of it does: to touch that would kill the process."""
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


def _report_once(line: str) -> None:
    if line not in _reported:
        _reported.add(line)
        print(line, file=sys.stderr)


def _compile(source: str, level: CpuIsa, toolchain: Toolchain, place: Path, timeout: float) -> Path:
    text, compiled, library = place / "model.c", place / "model.o", place / "model.so"
    if toolchain.compiler in _timed_out:
        fail("RNN503", _timed_out[toolchain.compiler])
    text.write_text(source, encoding="utf-8")
    _run(
        [toolchain.compiler, *compiler_flags(level, toolchain), "-c", text, "-o", compiled], timeout
    )
    runtime = [toolchain.openmp] if toolchain.openmp else []
    _run([toolchain.compiler, "-shared", compiled, "-o", library, *runtime, "-lm"], timeout)
    return library


def _run(command: list[str | Path], timeout: float) -> None:
    # A group of its own: a compiler that hangs is ended with all that it has started.
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
        told = errors.decode(errors="replace").strip().splitlines()
        if any("No space left" in line for line in told):
            raise OSError(28, "no space left on the disk")
        first = next((line for line in told if "error" in line), told[0] if told else "no message")
        fail("RNN503", f"the C compiler {command[0]} failed ({process.returncode}): {first}")
