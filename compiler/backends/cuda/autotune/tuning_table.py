"""What was found fastest on a kind of chip, in the place of the rules in `tiling` and `tiers`.

A table is filled by `rnnc bench --tune` alone, and kept in the user's cache folder as JSON. It is
looked up by sizes; what is not in it goes by the rules.
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

from rnnc.compiler.backends.cache_dir import UnusableCache, cache_folder, own_file, user_cache
from rnnc.compiler.backends.cuda.codegen.stage_kernels import Kernel
from rnnc.compiler.backends.cuda.schedule.device_limits import chip_of
from rnnc.compiler.backends.cuda.schedule.kernel_partition import stages_of
from rnnc.compiler.backends.cuda.schedule.loop_strategy import TIERS, Tier
from rnnc.compiler.backends.cuda.schedule.matmul_operands import products_of
from rnnc.compiler.backends.cuda.schedule.persistent_layout import Setting
from rnnc.compiler.backends.warn_once import tell_once
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.grammar.version import __version__

from .tile_sizes import Tiling

Value = TypeVar("Value")

FORMAT: Final = 1
FOLDER: Final = "tuning"
MOST: Final = 1 << 24
"""Bytes of a table that is ours."""

SLOWER: Final = "slower here, as `rnnc bench --tune` has measured"


@dataclass(frozen=True, slots=True)
class Table:
    """For kernels and loops of some sizes what is fastest.

    tilings: by `kernel_key`. tiers: by `loop_key`. libraries: by `cudnn.Library.key`, what runs
        the whole model in the place of own kernels.
    """

    tilings: Mapping[str, Tiling] = field(default_factory=dict)
    tiers: Mapping[str, Tier] = field(default_factory=dict)
    libraries: Mapping[str, Literal["cudnn"]] = field(default_factory=dict)

    def over(self, other: Table) -> Table:
        """This table, and where it says nothing another one."""
        return Table(
            {**other.tilings, **self.tilings},
            {**other.tiers, **self.tiers},
            {**other.libraries, **self.libraries},
        )

    def without(self, keys: Collection[str]) -> Table:
        """This table less some entries."""

        def rest(part: Mapping[str, Value]) -> dict[str, Value]:
            return {key: value for key, value in part.items() if key not in keys}

        return Table(rest(self.tilings), rest(self.tiers), rest(self.libraries))


def kernel_key(kernel: Kernel, bytes_: int) -> str:
    """What the best tiling of a kernel depends on."""
    return f"{kernel.drive} width={kernel.width} products={kernel.products} bytes={bytes_}"


def loop_key(plan: Plan, phase: Phase, setting: Setting) -> str:
    """What the best tier of a loop depends on; rows of the batch to the next power of two."""
    sizes = [
        f"{stage.width}:" + "+".join(str(p.depth) for p in products_of(plan, stage))
        for stage in stages_of(plan, phase.values).stages
    ]
    rows = 1 << max(0, setting.rows - 1).bit_length() if setting.rows else 0
    about = f"bytes={setting.bytes} {setting.precision} rows={rows}"
    return f"{'>' if phase.direction > 0 else '<'} {' '.join(sizes)} {about}"


def tuned_tiling(kernel: Kernel, bytes_: int, device: int | None) -> Tiling | None:
    """The tiling that a table has for a kernel without a shape of its own."""
    if device is None or kernel.shape is not None:
        return None
    tilings = table_of(chip_name(device)).tilings
    return tilings.get(kernel_key(kernel, bytes_)) if tilings else None


def slower_tiers(plan: Plan, phase: Phase, setting: Setting) -> dict[Tier, str]:
    """The tiers that the rules put before the one in the table."""
    tiers = table_of(setting.chip.name).tiers
    best = tiers.get(loop_key(plan, phase, setting)) if tiers else None
    return {} if best is None else dict.fromkeys(TIERS[: TIERS.index(best)], SLOWER)


def runs_by_library(key: Callable[[], str], device: int | None) -> bool:
    """Whether a model is faster by torch's library, as measured on the GPU of a number."""
    libraries = {} if device is None else table_of(chip_name(device)).libraries
    return bool(libraries) and key() in libraries


def chosen_libraries(chip: str, about: str) -> list[str]:
    """For which rows a model of some sizes runs by a library on a chip."""
    keys = sorted(table_of(chip).libraries)
    return [key.removeprefix(about).strip() for key in keys if key.startswith(f"{about} ")]


@cache
def chip_name(device: int) -> str:
    """The name of the GPU of a number."""
    return chip_of(device).name


_known: dict[str, Table] = {}
_lock = threading.Lock()


def table_of(chip: str) -> Table:
    """The table of a chip, read once a process."""
    with _lock:
        if chip not in _known:
            _known[chip] = _read(chip)
        return _known[chip]


@contextmanager
def using(chip: str, table: Table) -> Iterator[None]:
    """Go by this table meanwhile."""
    before = table_of(chip)
    _known[chip] = table
    try:
        yield
    finally:
        _known[chip] = before


def keep(chip: str, table: Table, asked: Collection[str] = ()) -> Path:
    """Add a table to what is kept for a chip, in one step; the file.

    asked: keys of which older answers no longer count.

    Raises:
        OSError: when it cannot be written.
        UnusableCache: when its folder is not the user's own.
        ImportError: where the cache folder is not known.
    """
    whole = table.over(_read(chip).without(asked))
    body = {
        "chip": chip,
        "tilings": {key: asdict(tiling) for key, tiling in sorted(whole.tilings.items())},
        "tiers": dict(sorted(whole.tiers.items())),
        "libraries": dict(sorted(whole.libraries.items())),
    }
    path = path_of(chip)
    cache_folder(FOLDER)
    about = {"format": FORMAT, "version": __version__, "check": _check(body)}
    descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps({**about, "table": body}, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    with _lock:
        _known[chip] = whole
    return path


def path_of(chip: str) -> Path:
    """Where the table of a chip is kept.

    Raises:
        ImportError: where the cache folder is not known.
    """
    name = "".join(c if c.isalnum() else "-" for c in chip.lower())
    return user_cache() / FOLDER / f"{name}.json"


def _read(chip: str) -> Table:
    """What is kept for a chip; nothing, and one line, where that is of no use."""
    try:
        path = path_of(chip)
        if not os.path.lexists(path):
            return Table()
        cache_folder(FOLDER)
        content = own_file(path, MOST)
        if content is None:
            return _ignored(path, f"it is no file of your own of at most {MOST:,} bytes")
        found = json.loads(content)
    except ImportError:
        return Table()
    except UnusableCache as error:
        return _ignored(path, str(error))
    except ValueError as error:
        return _ignored(path, f"it cannot be read: {type(error).__name__}")
    try:
        if (found["format"], found["version"]) != (FORMAT, __version__):
            return _ignored(path, f"it is of version {found['version']}, this is {__version__}")
        body = found["table"]
        if found["check"] != _check(body) or body["chip"] != chip:
            return _ignored(path, "it is torn")
        tilings = {str(key): _tiling(said) for key, said in body["tilings"].items()}
        tiers = {str(key): _tier(said) for key, said in body["tiers"].items()}
        libraries = {str(key): _library(said) for key, said in body["libraries"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return _ignored(path, "it is no table of tunings")
    return Table(tilings, tiers, libraries)


def _ignored(path: Path, why: str) -> Table:
    again = "`rnnc bench FILE --tune` writes it anew"
    tell_once(f"rnnc: {path} is ignored: {why}; {again}")
    return Table()


def _check(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _tiling(said: Mapping[str, Any]) -> Tiling:
    tiling = Tiling(**said)
    for number in (tiling.rows, tiling.columns, tiling.depth, tiling.warps):
        if not isinstance(number, int) or not 1 <= number <= 4096 or number & (number - 1):
            raise ValueError(f"expected a power of two, got {number!r}")
    return tiling


def _library(said: str) -> Literal["cudnn"]:
    if said != "cudnn":
        raise ValueError(f"expected cudnn, got {said!r}")
    return "cudnn"


def _tier(said: str) -> Tier:
    if said not in get_args(Tier):
        raise ValueError(f"expected a tier, got {said!r}")
    return said  # type: ignore[return-value]
