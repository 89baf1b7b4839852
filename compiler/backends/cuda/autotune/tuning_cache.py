"""Tuning tables on disk: one JSON file per device in the user's cache folder.

A file that is damaged, of another version or not the user's own is ignored with one warning.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal, get_args

from rnnc.compiler.backends.cache_dir import (
    UnusableCache,
    cache_folder,
    read_owned_file,
    user_cache_folder,
)
from rnnc.compiler.backends.cuda.schedule.loop_strategy import LoopStrategy
from rnnc.compiler.backends.warn_once import warn_once
from rnnc.grammar.version import __version__

from .tile_sizes import Tiling
from .tuning_table import TuningTable

FORMAT_VERSION: Final = 1
FOLDER: Final = "tuning"
MAX_FILE_BYTES: Final = 1 << 24
"""Largest file that is read: `save_table` writes far smaller ones."""

_tables: dict[str, TuningTable] = {}
_lock = threading.Lock()


def load_table(device: str) -> TuningTable:
    """Return the table of a device, read from disk once per process."""
    with _lock:
        if device not in _tables:
            _tables[device] = _read_table(device)
        return _tables[device]


@contextmanager
def use_table(device: str, table: TuningTable) -> Iterator[None]:
    """Use a table for a device within the context."""
    previous = load_table(device)
    _tables[device] = table
    try:
        yield
    finally:
        _tables[device] = previous


def save_table(device: str, table: TuningTable, replaced_keys: Collection[str] = ()) -> Path:
    """Merge a table into the file of a device atomically, and return its path.

    replaced_keys: keys whose older entries are dropped.

    Raises:
        OSError: when it cannot be written.
        UnusableCache: when its folder is not the user's own.
        ImportError: where the cache folder is not known.
    """
    merged = table.merge(_read_table(device).without(replaced_keys))
    body = {
        "chip": device,
        "tilings": {key: asdict(tiling) for key, tiling in sorted(merged.tilings.items())},
        "tiers": dict(sorted(merged.tiers.items())),
        "libraries": dict(sorted(merged.libraries.items())),
    }
    path = table_path(device)
    cache_folder(FOLDER)
    header = {"format": FORMAT_VERSION, "version": __version__, "check": _checksum(body)}
    descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps({**header, "table": body}, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    with _lock:
        _tables[device] = merged
    return path


def table_path(device: str) -> Path:
    """Return the path of a device's table.

    Raises:
        ImportError: where the cache folder is not known.
    """
    name = "".join(c if c.isalnum() else "-" for c in device.lower())
    return user_cache_folder() / FOLDER / f"{name}.json"


def _read_table(device: str) -> TuningTable:
    """Read the table of a device; if its file is unusable, warn once and return an empty one."""
    try:
        path = table_path(device)
        if not os.path.lexists(path):
            return TuningTable()
        cache_folder(FOLDER)
        content = read_owned_file(path, MAX_FILE_BYTES)
        if content is None:
            return _ignore_file(
                path, f"it is no file of your own of at most {MAX_FILE_BYTES:,} bytes"
            )
        document = json.loads(content)
    except ImportError:
        return TuningTable()
    except UnusableCache as error:
        return _ignore_file(path, str(error))
    except ValueError as error:
        return _ignore_file(path, f"it cannot be read: {type(error).__name__}")
    try:
        if (document["format"], document["version"]) != (FORMAT_VERSION, __version__):
            return _ignore_file(
                path, f"it is of version {document['version']}, this is {__version__}"
            )
        body = document["table"]
        if document["check"] != _checksum(body) or body["chip"] != device:
            return _ignore_file(path, "it is torn")
        tilings = {str(key): _parse_tiling(entry) for key, entry in body["tilings"].items()}
        tiers = {str(key): _parse_strategy(entry) for key, entry in body["tiers"].items()}
        libraries = {str(key): _parse_library(entry) for key, entry in body["libraries"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return _ignore_file(path, "it is no table of tunings")
    return TuningTable(tilings, tiers, libraries)


def _ignore_file(path: Path, reason: str) -> TuningTable:
    advice = "`rnnc bench FILE --tune` writes it anew"
    warn_once(f"rnnc: {path} is ignored: {reason}; {advice}")
    return TuningTable()


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _parse_tiling(fields: Mapping[str, Any]) -> Tiling:
    tiling = Tiling(**fields)
    for number in (tiling.rows, tiling.columns, tiling.depth, tiling.warps):
        if not isinstance(number, int) or not 1 <= number <= 4096 or number & (number - 1):
            raise ValueError(f"expected a power of two, got {number!r}")
    return tiling


def _parse_library(name: str) -> Literal["cudnn"]:
    if name != "cudnn":
        raise ValueError(f"expected cudnn, got {name!r}")
    return "cudnn"


def _parse_strategy(name: str) -> LoopStrategy:
    if name not in get_args(LoopStrategy):
        raise ValueError(f"expected a tier, got {name!r}")
    return name  # type: ignore[return-value]
