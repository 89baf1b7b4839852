"""Write a picture atomically, and never over an existing file without `force`."""

from __future__ import annotations

import os
from pathlib import Path

from rnnc.grammar.diagnostics.errors import fail


def save_picture(path: Path, data: bytes, *, force: bool = False) -> None:
    """Write a file.

    Raises:
        RnnError: RNN652, when there is something at `path` and `force` is not given; RNN605, when
            it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.is_dir():
            fail("RNN605", f"`{path}` is a directory", hint="name a file in it")
        if not force and path.exists():
            _fail_exists(path)
        with part.open("xb") as file:
            file.write(data)
        if force:
            os.replace(part, path)
        else:
            _publish(part, path)
    except FileExistsError:
        _fail_exists(path)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        hint = ""
        if isinstance(error, FileNotFoundError) and not path.parent.is_dir():
            reason, hint = f"there is no folder `{path.parent}`", "make the folder first"
        fail("RNN605", f"`{path}` cannot be written: {reason}", hint=hint)
    finally:
        _remove(part)


def _publish(part: Path, path: Path) -> None:
    """Rename a finished file, unless the name was taken meanwhile."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        os.replace(part, path)


def _remove(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except (OSError, ValueError):
        return


def _fail_exists(path: Path) -> None:
    fail("RNN652", f"`{path}` is already there", hint="`--force` replaces it")
