"""The user's cache folder: private folders for kernels and tables, and safe reads from them."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from rnnc.operators.sources.regular_files import open_regular


def user_cache_folder() -> Path:
    """Return the path of rnnc's cache folder, which need not exist."""
    from platformdirs import user_cache_path

    return user_cache_path("rnnc")


class UnusableCache(Exception):
    """Error of an unusable cache folder; its text gives the reason in one line."""


def cache_folder(name: str = "kernels") -> Path:
    """Return a private folder in the user's cache, created with mode 0700 if it is missing.

    Raises:
        UnusableCache: when it or its parent cannot be created or written, is a link, or belongs
            to another user, who could then inject code into this process.
    """
    try:
        parent = user_cache_folder()
    except ImportError as error:
        raise UnusableCache(f"the cache folder is not known: {error}") from error
    folder = parent / name
    try:
        parent.parent.mkdir(parents=True, exist_ok=True)
        # Earlier versions created the outer folder with the user's umask, so others may read it.
        for path, forbidden_mode in ((parent, 0o022), (folder, 0o077)):
            path.mkdir(mode=0o700, exist_ok=True)
            _require_private(path, forbidden_mode)
    except OSError as error:
        raise UnusableCache(f"{error.filename or folder}: {_reason(error)}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UnusableCache(f"{folder} cannot be written")
    return folder


def _require_private(folder: Path, forbidden_mode: int) -> None:
    """Raise UnusableCache unless the path is the user's own folder without these mode bits."""
    state = folder.lstat()
    mode = stat.S_IMODE(state.st_mode)
    if not stat.S_ISDIR(state.st_mode):
        link = stat.S_ISLNK(state.st_mode)
        raise UnusableCache(f"{folder} is {'a link, not a folder' if link else 'not a folder'}")
    if state.st_uid != os.getuid():
        raise UnusableCache(f"{folder} belongs to another user")
    if mode & forbidden_mode:
        raise UnusableCache(f"{folder} is open to other users (mode {mode:o})")


def read_owned_file(path: Path, max_bytes: int = sys.maxsize) -> bytes | None:
    """Return the content of the user's own regular file, of at most `max_bytes`, else None."""
    try:
        state = path.lstat()
        is_owned = stat.S_ISREG(state.st_mode) and state.st_uid == os.getuid()
        if not is_owned or state.st_size > max_bytes:
            return None
        with open_regular(path) as file:
            return file.read()
    except OSError:
        return None


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
