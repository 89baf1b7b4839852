"""Locate data sets: a given folder, the one in RNNC_DATA, or the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from rnnc.grammar.diagnostics.errors import fail

DATA_VARIABLE: Final = "RNNC_DATA"


def data_folder(folder: Path | None = None) -> Path:
    """Return `folder`, else $RNNC_DATA, else `data` in the user's cache folder."""
    if folder is not None:
        return folder
    if configured := os.environ.get(DATA_VARIABLE):
        return Path(configured)
    return default_data_folder()


def find_data(file: str, folder: Path | None = None) -> Path:
    """Return the path of a data file, such as `polyphonic/jsb_chorales.npz`.

    Raises:
        RnnError: RNN610, naming the file looked for, when it is not there.
    """
    path = data_folder(folder) / file
    if not path.is_file():
        problem = "is a directory, not a data file" if path.is_dir() else "is not there"
        fail(
            "RNN610",
            f"the data file `{path}` {problem}",
            hint=(
                f"rnnc looks for `{file}` in the folder given with --data, else in the one that "
                f"the environment variable {DATA_VARIABLE} names,\n"
                f"else in `{default_data_folder()}`; put the file into one of them"
            ),
        )
    return path


def default_data_folder() -> Path:
    """Return `data` in the user's cache folder."""
    from platformdirs import user_cache_path

    return user_cache_path("rnnc", appauthor=False) / "data"
