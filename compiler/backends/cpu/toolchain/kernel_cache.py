"""Kernel cache: compiled libraries on disk, in the user's own cache folder.

An entry is a shared library with its SHA-256 behind it, where loaders do not look. A file that a
crash has torn does not match it and is built again: mapped, it would kill the process.
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
"""Seconds after which a build folder is left over from a crash: no build takes an hour."""


def is_valid_entry(path: Path) -> bool:
    """Return true if a file is a whole entry that matches its checksum."""
    content = read_owned_file(path)
    if content is None:
        return False
    body, mark = content[: -len(_MARK) - 32], content[-len(_MARK) - 32 :]
    return mark == _MARK + hashlib.sha256(body).digest()


def publish_entry(library: Path, entry: Path) -> None:
    """Append the checksum to a library and move it to its place in one step.

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
    """Make a folder to build in, on the disk of the entries, and clear those that crashes left."""
    now = time.time()
    for leftover in folder.glob("build-*"):
        try:
            if now - leftover.stat().st_mtime > _STALE:
                shutil.rmtree(leftover, ignore_errors=True)
        except OSError:
            continue  # another process was faster
    return tempfile.TemporaryDirectory(prefix="build-", dir=folder, ignore_cleanup_errors=True)
