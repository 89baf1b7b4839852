"""Locate the real data sets, or skip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"

# Read at import: tests set RNNC_DATA to other data.
DATA_FROM_ENVIRONMENT = os.environ.get("RNNC_DATA")


def real_data(file: str) -> Path:
    """Return the folder in RNNC_DATA or `../shared/data` with `file`; skip if neither has it."""
    for folder in ([Path(DATA_FROM_ENVIRONMENT)] if DATA_FROM_ENVIRONMENT else []) + [SHARED_DATA]:
        if (folder / file).is_file():
            return folder
    pytest.skip(f"`{file}` is neither in $RNNC_DATA nor in `{SHARED_DATA}`")
