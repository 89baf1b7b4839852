"""Compiled kernels on disk, in the user's own cache folder.

An entry is a shared library with a mark behind it: the SHA-256 of the library, which loaders do not
look at. An entry that a crash has torn is seen by it and built again; a mapped file that is
shorter than its tables say would kill the process.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

from rnnc.compiler.backends.cache_dir import read_owned_file

_MARK: Final = b"rnnc-sha256:"
_STALE: Final = 3600.0


def is_valid_entry(path: Path) -> bool:
    """Whether a finished, whole library lies there."""
    content = read_owned_file(path)
    if content is None:
        return False
    body, mark = content[: -len(_MARK) - 32], content[-len(_MARK) - 32 :]
    return mark == _MARK + hashlib.sha256(body).digest()


def publish_entry(library: Path, entry: Path) -> None:
    """Move a fresh library to its place, marked, in one step.

    Raises:
        OSError: when the disk is full, or has become read-only.
    """
    content = library.read_bytes()
    with library.open("ab") as file:
        file.write(_MARK + hashlib.sha256(content).digest())
        file.flush()
        os.fsync(file.fileno())
    library.replace(entry)


def build_folder(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder to build in, on the same disk as the entry; what crashes have left is cleared."""
    now = time.time()
    for left in folder.glob("build-*"):
        try:
            if now - left.stat().st_mtime > _STALE:
                shutil.rmtree(left, ignore_errors=True)
        except OSError:
            continue  # another process was faster
    return tempfile.TemporaryDirectory(prefix="build-", dir=folder, ignore_cleanup_errors=True)
