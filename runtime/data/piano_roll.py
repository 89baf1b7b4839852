"""Piano-rolls of the four polyphonic data sets of Boulanger-Lewandowski et al. (ICML 2012).

One `.npz` a set, with `{train,valid,test}_notes`, uint8 (frames, 11): the 88 keys of each frame as
bits, the highest bit first, key j being MIDI note 21 + j; and `{train,valid,test}_lengths`,
integers (sequences,): the sequences' frames, in the order in which they are concatenated.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

import numpy as np

from rnnc.grammar.diagnostics.errors import RnnError, fail
from rnnc.operators.sources.regular_files import open_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Roll: TypeAlias = NDArray[np.uint8]

KEYS: Final = 88
SPLITS: Final = ("train", "valid", "test")
MAX_UNPACKED_BYTES: Final = 2**30
"""A hundred times the largest of the four sets, far below a decompression bomb."""


def read_rolls(path: Path, split: str) -> tuple[Roll, ...]:
    """Read the sequences of one split, in their original order; unpack no other split.

    Args:
        path: a file of the format above.
        split: `train`, `valid` or `test`.

    Returns:
        uint8 arrays (T, 88) of zeros and ones, each T at least 1.

    Raises:
        RnnError: RNN611 for a file that is broken, cut off, of another format, or holds objects
            (which are never loaded).
    """
    try:
        notes, lengths = _load_arrays(path, split)
    except RnnError:
        raise
    # zipfile, zlib and numpy raise a dozen unrelated exception types on invalid bytes.
    except Exception as error:
        _reject(path, _describe_error(error))
    _check_notes(path, f"{split}_notes", notes)
    _check_lengths(path, f"{split}_lengths", lengths, notes.shape[0])
    keys = np.unpackbits(notes.astype(np.uint8, copy=False), axis=1)
    return tuple(np.split(keys, np.cumsum(lengths, dtype=np.int64)[:-1]))


def _load_arrays(path: Path, split: str) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Load `notes` and `lengths` of a split, unchecked."""
    # Open the file here: numpy does not close it if it is no archive.
    with open_regular(path) as file:
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            _reject(path, "it holds a single array")
        with archive:
            expected = [f"{name}_{suffix}" for name in SPLITS for suffix in ("notes", "lengths")]
            missing = [name for name in expected if name not in archive.files]
            if missing:
                _reject(path, f"it has no array `{missing[0]}`")
            size = sum(member.file_size for member in archive.zip.infolist()) if archive.zip else 0
            if size > MAX_UNPACKED_BYTES:
                _reject(
                    path, f"it unpacks to {size:,} bytes, and the limit is {MAX_UNPACKED_BYTES:,}"
                )
            return archive[f"{split}_notes"], archive[f"{split}_lengths"]


def _check_notes(path: Path, name: str, notes: NDArray[np.generic]) -> None:
    if notes.dtype != np.uint8:
        _reject(path, f"`{name}` should be uint8 and is {notes.dtype}")
    if notes.ndim != 2 or notes.shape[1] * 8 != KEYS:
        _reject(path, f"`{name}` should have the shape (frames, {KEYS // 8}) and has {notes.shape}")


def _check_lengths(path: Path, name: str, lengths: NDArray[np.generic], frames: int) -> None:
    if lengths.dtype.kind not in "iu" or lengths.ndim != 1:
        description = f"{lengths.dtype} {lengths.shape}"
        _reject(path, f"`{name}` should be integers (sequences,) and is {description}")
    values = [int(length) for length in lengths.tolist()]
    if not values:
        _reject(path, f"`{name}` is empty")
    if min(values) < 1:
        _reject(path, f"`{name}` holds a length of {min(values)}")
    if sum(values) != frames:
        _reject(path, f"`{name}` adds up to {sum(values)} frames, and there are {frames}")


def _describe_error(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if "allow_pickle" in str(error) or "pickled" in str(error):
        return "it holds Python objects, which are never loaded"
    return "it is not a readable .npz archive"


def _reject(path: Path, why: str) -> NoReturn:
    fail(
        "RNN611",
        f"the data file `{path}` cannot be used: {why}",
        hint="a piano-roll file holds {train,valid,test}_notes, uint8 (frames, 11), "
        "and {train,valid,test}_lengths, integers (sequences,)",
    )
