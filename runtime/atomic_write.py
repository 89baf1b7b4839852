"""Write files atomically: readers never see a partial file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def attach_filename(path: Path) -> Iterator[None]:
    """Add the file name to an OSError without one, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file's content in one step: readers see the old or the new one."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with attach_filename(path), part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
