"""The real data sets, where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def real_data(file: str) -> Path:
    """The folder that RNNC_DATA names, or `../shared/data`; skips when `file` is in neither."""
    named = os.environ.get("RNNC_DATA")
    for folder in ([Path(named)] if named else []) + [BESIDE]:
        if (folder / file).is_file():
            return folder
    pytest.skip(f"`{file}` is neither in $RNNC_DATA nor in `{BESIDE}`")
