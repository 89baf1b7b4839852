"""Where data sets lie: a folder given, one named by RNNC_DATA, or the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from rnnc.grammar.diagnostics.errors import fail

DATA_VARIABLE: Final = "RNNC_DATA"


def data_folder(folder: Path | None = None) -> Path:
    """The folder to look in: `folder`, else $RNNC_DATA, else `data` in the user's cache folder."""
    if folder is not None:
        return folder
    if named := os.environ.get(DATA_VARIABLE):
        return Path(named)
    return default_data_folder()


def find_data(file: str, folder: Path | None = None) -> Path:
    """The path of a data file, such as `polyphonic/jsb_chorales.npz`, in the data folder.

    Raises:
        RnnError: RNN610, naming the file looked for, when it is not there.
    """
    path = data_folder(folder) / file
    if not path.is_file():
        what = "is a directory, not a data file" if path.is_dir() else "is not there"
        fail(
            "RNN610",
            f"the data file `{path}` {what}",
            hint=(
                f"rnnc looks for `{file}` in the folder given with --data, else in the one that "
                f"the environment variable {DATA_VARIABLE} names,\n"
                f"else in `{default_data_folder()}`; put the file into one of them"
            ),
        )
    return path


def default_data_folder() -> Path:
    """The folder that is looked in when nothing else is said."""
    from platformdirs import user_cache_path

    return user_cache_path("rnnc", appauthor=False) / "data"
