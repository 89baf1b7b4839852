"""The real data sets, where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"

# Read once: tests point RNNC_DATA at data of their own.
DATA_FROM_ENVIRONMENT = os.environ.get("RNNC_DATA")


def real_data(file: str) -> Path:
    """The folder that RNNC_DATA names, or `../shared/data`; skips when `file` is in neither."""
    for folder in ([Path(DATA_FROM_ENVIRONMENT)] if DATA_FROM_ENVIRONMENT else []) + [SHARED_DATA]:
        if (folder / file).is_file():
            return folder
    pytest.skip(f"`{file}` is neither in $RNNC_DATA nor in `{SHARED_DATA}`")
