"""Compiled kernels on disk, in the user's own cache folder.

An entry is a shared library with a mark behind it: the SHA-256 of the library, which loaders do not
look at. An entry that a crash has torn is seen by it and built again; a mapped file that is
shorter than its tables say would kill the process.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from rnnc.compiler.backends.cache_dir import user_cache
from rnnc.operators.sources.regular_files import open_regular

_MARK: Final = b"rnnc-sha256:"
_STALE: Final = 3600.0


class UnusableCache(Exception):
    """The cache folder cannot be used; the text says why, in one line."""


def cache_folder(name: str = "kernels") -> Path:
    """A folder of ours in the user's cache, made with mode 0700 where it is missing.

    Raises:
        UnusableCache: when it, or the one around it, cannot be made or written, is a link, or
            belongs to somebody else: who can write there can put code into this process.
    """
    try:
        around = user_cache()
    except ImportError as error:
        raise UnusableCache(f"the cache folder is not known: {error}") from error
    folder = around / name
    try:
        around.parent.mkdir(parents=True, exist_ok=True)
        # Versions before this one made the outer folder by the user's own mask.
        for path, closed in ((around, 0o022), (folder, 0o077)):
            path.mkdir(mode=0o700, exist_ok=True)
            _demand_own(path, closed)
    except OSError as error:
        raise UnusableCache(f"{error.filename or folder}: {_reason(error)}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UnusableCache(f"{folder} cannot be written")
    return folder


def _demand_own(folder: Path, closed: int) -> None:
    """Raise UnusableCache unless it is a folder, no link, the user's, and these modes are off."""
    state = folder.lstat()
    mode = stat.S_IMODE(state.st_mode)
    if not stat.S_ISDIR(state.st_mode):
        link = stat.S_ISLNK(state.st_mode)
        raise UnusableCache(f"{folder} is {'a link, not a folder' if link else 'not a folder'}")
    if state.st_uid != os.getuid():
        raise UnusableCache(f"{folder} belongs to another user")
    if mode & closed:
        raise UnusableCache(f"{folder} is open to other users (mode {mode:o})")


def own_file(path: Path, most: int = sys.maxsize) -> bytes | None:
    """What is in a file of the cache, unless it is missing, a link, no file, not ours, too long."""
    try:
        state = path.lstat()
        ours = stat.S_ISREG(state.st_mode) and state.st_uid == os.getuid()
        if not ours or state.st_size > most:
            return None
        with open_regular(path) as file:
            return file.read()
    except OSError:
        return None


def sound_entry(path: Path) -> bool:
    """Whether a finished, whole library lies there."""
    content = own_file(path)
    if content is None:
        return False
    body, mark = content[: -len(_MARK) - 32], content[-len(_MARK) - 32 :]
    return mark == _MARK + hashlib.sha256(body).digest()


def seal(library: Path, entry: Path) -> None:
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


def workplace(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder to build in, on the same disk as the entry; what crashes have left is cleared."""
    now = time.time()
    for left in folder.glob("build-*"):
        try:
            if now - left.stat().st_mtime > _STALE:
                shutil.rmtree(left, ignore_errors=True)
        except OSError:
            continue  # another process was faster
    return tempfile.TemporaryDirectory(prefix="build-", dir=folder, ignore_cleanup_errors=True)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
