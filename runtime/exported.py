"""`rnnc compile FILE -o model.py`: where the two files go, and that nothing is lost by it."""

from __future__ import annotations

import keyword
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from ..grammar.diagnostics import fail
from .diagrams.save import save

if TYPE_CHECKING:
    from ..compiler.export.text import Exported


def module_name(path: Path) -> str:
    """The name that a Python file at `path` is imported by.

    Raises:
        RnnError: RNN651, when its ending is not `.py`, or Python could not import it by its name.
    """
    if path.suffix != ".py":
        fail("RNN651", f"`{path}` does not end in .py", hint="name a Python module: `-o model.py`")
    name = path.stem
    if not name.isidentifier() or keyword.iskeyword(name):
        reason = "is no name in Python"
    elif unicodedata.normalize("NFKC", name) != name:
        reason = "is read by Python as another name"
    elif name in sys.stdlib_module_names or name in {"torch", "rnnc"}:
        reason = "is the name of a module that it needs, or may need"
    else:
        return name
    fail(
        "RNN651",
        f"`{path}` could not be imported: `{name}` {reason}",
        hint="name it `-o model.py`, or by any other word",
    )


def write(path: Path, texts: Exported, *, force: bool) -> tuple[Path, Path]:
    """Write a module and the C file beside it: both, or none.

    Raises:
        RnnError: RNN652, when one of them is already there and `force` is not given; RNN605, when
            one cannot be written.
    """
    beside = path.with_suffix(".c")
    if not force:
        for there in (path, beside):
            if there.exists() or there.is_symlink():
                fail("RNN652", f"`{there}` is already there", hint="`--force` replaces it")
    was_there = beside.exists()
    save(beside, texts.c.encode(), force=force)
    try:
        save(path, texts.python.encode(), force=force)
    except BaseException:
        if not was_there:
            beside.unlink(missing_ok=True)
        raise
    return path, beside
