"""Tuning table: the fastest tile sizes, strategies and libraries by kernel and loop sizes.

`rnnc bench --tune` alone fills it. A key that is not in the table takes the default.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args

from rnnc.compiler.backends.cache_dir import (
    UnusableCache,
    cache_folder,
    read_owned_file,
    user_cache_folder,
)
from rnnc.compiler.backends.cuda.codegen.stage_kernels import TritonKernel
from rnnc.compiler.backends.cuda.schedule.device_limits import query_device_limits
from rnnc.compiler.backends.cuda.schedule.kernel_partition import partition_stages
from rnnc.compiler.backends.cuda.schedule.loop_strategy import STRATEGIES, LoopStrategy
from rnnc.compiler.backends.cuda.schedule.matmul_operands import stage_matmuls
from rnnc.compiler.backends.cuda.schedule.persistent_layout import DeviceContext
from rnnc.compiler.backends.warn_once import warn_once
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.grammar.version import __version__

from .tile_sizes import Tiling

V = TypeVar("V")

FORMAT_VERSION: Final = 1
FOLDER: Final = "tuning"
MAX_FILE_BYTES: Final = 1 << 24
"""Largest file that is read: `save_table` writes far smaller ones."""

SLOWER_REASON: Final = "slower here, as `rnnc bench --tune` has measured"


@dataclass(frozen=True, slots=True)
class TuningTable:
    """The fastest implementations that were measured on one device.

    tilings: by `kernel_key`.
    tiers: strategies of loops by `loop_key`.
    libraries: by `CudnnLayers.tuning_key`, models that run faster in a library as a whole.
    """

    tilings: Mapping[str, Tiling] = field(default_factory=dict)
    tiers: Mapping[str, LoopStrategy] = field(default_factory=dict)
    libraries: Mapping[str, Literal["cudnn"]] = field(default_factory=dict)

    def merge(self, other: TuningTable) -> TuningTable:
        """Return the union of two tables; this one takes precedence."""
        return TuningTable(
            {**other.tilings, **self.tilings},
            {**other.tiers, **self.tiers},
            {**other.libraries, **self.libraries},
        )

    def without(self, keys: Collection[str]) -> TuningTable:
        """Return the table without the entries of some keys."""

        def drop_keys(part: Mapping[str, V]) -> dict[str, V]:
            return {key: value for key, value in part.items() if key not in keys}

        return TuningTable(
            drop_keys(self.tilings), drop_keys(self.tiers), drop_keys(self.libraries)
        )


def kernel_key(kernel: TritonKernel, element_size: int) -> str:
    """Return the key of a kernel's tiling: kind, width, matmuls and element size."""
    return f"{kernel.kind} width={kernel.width} products={kernel.matmuls} bytes={element_size}"


def loop_key(plan: Plan, phase: Phase, context: DeviceContext) -> str:
    """Return the key of a loop's strategy: sizes, dtype, batch size rounded up to 2ⁿ."""
    sizes = [
        f"{stage.width}:" + "+".join(str(p.depth) for p in stage_matmuls(plan, stage))
        for stage in partition_stages(plan, phase.values).stages
    ]
    batch_size = 1 << max(0, context.batch_size - 1).bit_length() if context.batch_size else 0
    properties = f"bytes={context.element_size} {context.precision} rows={batch_size}"
    return f"{'>' if phase.direction > 0 else '<'} {' '.join(sizes)} {properties}"


def tuned_tiling(kernel: TritonKernel, element_size: int, device: int | None) -> Tiling | None:
    """Look up the tiling of a kernel; None if it is not tuned, or has a persistent layout."""
    if device is None or kernel.layout is not None:
        return None
    tilings = load_table(device_name(device)).tilings
    return tilings.get(kernel_key(kernel, element_size)) if tilings else None


def slower_strategies(plan: Plan, phase: Phase, context: DeviceContext) -> dict[LoopStrategy, str]:
    """Return the strategies that precede the tuned one by default, each with the reason."""
    tiers = load_table(context.device.name).tiers
    best = tiers.get(loop_key(plan, phase, context)) if tiers else None
    return (
        {} if best is None else dict.fromkeys(STRATEGIES[: STRATEGIES.index(best)], SLOWER_REASON)
    )


def is_cudnn_faster(key: Callable[[], str], device: int | None) -> bool:
    """Test whether cuDNN was measured faster on the GPU of this index."""
    libraries = {} if device is None else load_table(device_name(device)).libraries
    return bool(libraries) and key() in libraries


def cudnn_batches(chip: str, prefix: str) -> list[str]:
    """List the batch sizes, as in the keys, at which a model runs in cuDNN on a device."""
    keys = sorted(load_table(chip).libraries)
    return [key.removeprefix(prefix).strip() for key in keys if key.startswith(f"{prefix} ")]


@cache
def device_name(device: int) -> str:
    """Return the name of the GPU of this index, cached."""
    return query_device_limits(device).name


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
        tilings = {str(key): _parse_tiling(said) for key, said in body["tilings"].items()}
        tiers = {str(key): _parse_strategy(said) for key, said in body["tiers"].items()}
        libraries = {str(key): _parse_library(said) for key, said in body["libraries"].items()}
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
