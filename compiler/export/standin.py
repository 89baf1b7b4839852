"""What stands in an exported module where rnnc has more: one kind of error, a cache of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn


def fail(code: str, message: str, *, hint: str = "") -> NoReturn:
    """Say that this machine cannot run the model.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError(f"{message} ({hint})" if hint else message)


def user_cache() -> Path:
    """The folder of caches of the user, as rnnc has it, too."""
    named = os.environ.get("XDG_CACHE_HOME", "").strip()
    if sys.platform == "darwin" and not named:
        return Path.home() / "Library" / "Caches" / "rnnc"
    return (Path(named) if named else Path.home() / ".cache") / "rnnc"


def first_only(*_: Any, **__: Any) -> NoReturn:
    """Refuse what needs the operator graph itself.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError(
        "an exported module has first derivatives alone, and no transforms of torch.func: "
        "rnnc.compile of its spec has them"
    )


def no_key(*_: Any) -> str:
    """No text that an operator of torch could make the model from."""
    return ""
