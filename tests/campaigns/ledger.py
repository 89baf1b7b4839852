"""A ledger of searches: one JSON line per run; later runs continue after its seeds."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from functools import cache
from pathlib import Path

from support.generator import random_spec
from support.generator.calls import random_call

LEDGER = Path(__file__).with_name("ledger.jsonl")


@dataclass(frozen=True)
class Entry:
    """One run: seeds `first` to `last`, the number of valid specs, and the failing seeds."""

    backend: str
    options: Mapping[str, str]
    generator: str
    first: int
    last: int
    accepted: int
    held: int
    mismatches: tuple[int, ...]
    commit: str


@cache
def generator_version() -> str:
    """Hash a few specs and calls: equal hashes mean equal specs for a seed."""
    samples: list[object] = []
    for seed in range(0, 10_000, 400):
        spec = random_spec(seed)
        samples.append((spec.text, sorted(spec.sizes.items()), astuple(random_call(seed, 1))))
    return hashlib.sha256(repr(samples).encode()).hexdigest()[:12]


def current_commit() -> str:
    """Return the checked out commit, marked if files differ from it."""
    process = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=10"],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return process.stdout.strip() or "unknown"


def read_entries(path: Path = LEDGER) -> list[Entry]:
    """Read all runs."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines if line.strip()]
    return [Entry(**{**entry, "mismatches": tuple(entry["mismatches"])}) for entry in entries]


def append_entry(entry: Entry, path: Path = LEDGER) -> None:
    """Append a run."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")


def next_seed(backend: str, options: Mapping[str, str], path: Path = LEDGER) -> int:
    """Return the seed after the last run with the same backend, options and generator."""
    version = generator_version()
    last = [
        entry.last
        for entry in read_entries(path)
        if (entry.backend, dict(entry.options), entry.generator)
        == (backend, dict(options), version)
    ]
    return max(last, default=-1) + 1
