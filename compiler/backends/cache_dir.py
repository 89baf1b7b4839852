"""The user's cache folder."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from rnnc.operators.sources.regular_files import open_regular


def user_cache_folder() -> Path:
    """The user's folder of caches for rnnc."""
    from platformdirs import user_cache_path

    return user_cache_path("rnnc")


class UnusableCache(Exception):
    """The cache folder cannot be used; the text says why, in one line."""


def cache_folder(name: str = "kernels") -> Path:
    """A folder of ours in the user's cache, made with mode 0700 where it is missing.

    Raises:
        UnusableCache: when it, or the one around it, cannot be made or written, is a link, or
            belongs to somebody else: who can write there can put code into this process.
    """
    try:
        around = user_cache_folder()
    except ImportError as error:
        raise UnusableCache(f"the cache folder is not known: {error}") from error
    folder = around / name
    try:
        around.parent.mkdir(parents=True, exist_ok=True)
        # Versions before this one made the outer folder by the user's own mask.
        for path, closed in ((around, 0o022), (folder, 0o077)):
            path.mkdir(mode=0o700, exist_ok=True)
            _require_private(path, closed)
    except OSError as error:
        raise UnusableCache(f"{error.filename or folder}: {_reason(error)}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UnusableCache(f"{folder} cannot be written")
    return folder


def _require_private(folder: Path, closed: int) -> None:
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


def read_owned_file(path: Path, max_bytes: int = sys.maxsize) -> bytes | None:
    """What is in a file of the cache, unless it is missing, a link, no file, not ours, too long."""
    try:
        state = path.lstat()
        ours = stat.S_ISREG(state.st_mode) and state.st_uid == os.getuid()
        if not ours or state.st_size > max_bytes:
            return None
        with open_regular(path) as file:
            return file.read()
    except OSError:
        return None


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
