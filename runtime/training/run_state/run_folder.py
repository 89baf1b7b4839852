"""The folder of one training run.

`metrics.jsonl` has a JSON object a line and epoch; `best.safetensors` the weights of the epoch with
the best validation metric; `last.safetensors` the state from which training goes on.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from rnnc.grammar.diagnostics.errors import fail
from rnnc.operators.sources.regular_files import open_regular
from rnnc.runtime.atomic_write import attach_filename, write_atomically


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of the files of a run."""

    folder: Path

    @property
    def best_checkpoint(self) -> Path:
        """Checkpoint with the best weights."""
        return self.folder / "best.safetensors"

    @property
    def last_checkpoint(self) -> Path:
        """Checkpoint from which training resumes."""
        return self.folder / "last.safetensors"

    @property
    def metrics_file(self) -> Path:
        """One JSON object per line, one line per epoch."""
        return self.folder / "metrics.jsonl"

    def append_metrics(self, line: Mapping[str, object]) -> None:
        """Append a line to the metrics."""
        with attach_filename(self.metrics_file), self.metrics_file.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")

    def truncate_metrics(self, lines: int) -> None:
        """Drop the lines of epochs that will be repeated."""
        old_lines: list[bytes] = []
        if self.metrics_file.exists():
            with open_regular(self.metrics_file) as file:
                old_lines = file.readlines()
        write_atomically(self.metrics_file, b"".join(old_lines[:lines]))


def create_run(folder: Path | None, spec: str, task: str) -> RunFolder:
    """Create the folder of a new run: the given one, or `runs/SPEC-TASK-NUMBER`.

    Raises:
        RnnError: RNN634 if the given folder already holds a run, or is a file.
    """
    if folder is not None:
        run = RunFolder(folder)
        if folder.exists() and not folder.is_dir():
            fail("RNN634", f"`{folder}` is a file, and a run needs a folder")
        folder.mkdir(parents=True, exist_ok=True)
        if run.best_checkpoint.exists() or run.last_checkpoint.exists() or not _claim_folder(run):
            fail(
                "RNN634",
                f"`{folder}` already holds a run, and nothing is overwritten",
                hint=f"name another folder, or go on with `rnnc train --resume {folder}`",
            )
        return run
    stem = re.sub(r"[^\w.-]+", "_", spec).strip("._") or "spec"
    for number in itertools.count(1):
        run = RunFolder(Path("runs") / f"{stem}-{task}-{number}")
        try:
            run.folder.mkdir(parents=True)
        except FileExistsError:
            continue
        _claim_folder(run)
        return run
    raise AssertionError("integers do not end")


def _claim_folder(run: RunFolder) -> bool:
    """Create the metrics file; fail if another process was faster."""
    try:
        run.metrics_file.open("xb").close()
    except FileExistsError:
        return False
    return True


def open_run(folder: Path) -> RunFolder:
    """Open the folder of an existing run.

    Raises:
        RnnError: RNN630 if there is none.
    """
    run = RunFolder(folder)
    if not run.last_checkpoint.is_file():
        reason = (
            "has no `last.safetensors`"
            if folder.is_dir()
            else "is a file, not a run's folder"
            if folder.exists()
            else "is not there"
        )
        fail(
            "RNN630",
            f"`{folder}` is no run: it {reason}",
            hint="`rnnc train` prints the run it made",
        )
    return run
