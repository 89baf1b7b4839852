"""Write small piano-roll files in the format of the four polyphonic data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.generic]]


def small_rolls(seed: int = 0, counts: tuple[int, int, int] = (13, 5, 4)) -> Arrays:
    """Generate the six arrays of a file: sequences of 2 to 9 frames."""
    random = np.random.default_rng(seed)
    arrays: Arrays = {}
    for split, count in zip(("train", "valid", "test"), counts, strict=True):
        lengths = random.integers(2, 10, count).astype(np.int32)
        rolls = np.zeros((int(lengths.sum()), 88), np.uint8)
        rolls[np.arange(len(rolls)), 40 + np.arange(len(rolls)) % 5] = 1
        rolls[:, 50] = random.random(len(rolls)) < 0.5
        arrays[f"{split}_notes"] = np.packbits(rolls, axis=1)
        arrays[f"{split}_lengths"] = lengths
    return arrays


def write_rolls(path: Path, arrays: Arrays | None = None) -> Path:
    """Write a file, by default with `small_rolls`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **(arrays or small_rolls()))  # type: ignore[arg-type]
    return path


def small_data(folder: Path) -> Path:
    """Write a small JSB Chorales into a data folder; return the folder."""
    write_rolls(folder / "polyphonic" / "jsb_chorales.npz")
    return folder
