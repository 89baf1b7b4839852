"""The progress bar on standard error: epoch, loss, and validation metric."""

from __future__ import annotations

from types import TracebackType
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from rnnc.runtime.training.run_state.progress import Progress as TrainingProgress

MIN_WIDE_COLUMNS: Final = 80
"""Columns below which the bar is short and the best epoch is left out."""


class ProgressBar:
    """A bar for the batches of an epoch; disabled if standard error is no terminal."""

    def __init__(self, epochs: int, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        self._epochs = epochs
        self._valid = ""
        self._narrow = console.width < MIN_WIDE_COLUMNS
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=4 if self._narrow else 12),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("{task.fields[valid]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, epoch="", loss="", valid="")

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show_batch(self, epoch: int, done: int, total: int, loss: float) -> None:
        """Advance the bar; `loss` is the mean of the epoch so far."""
        self._bar.update(
            self._task,
            completed=done,
            total=total,
            epoch=f"{epoch}/{self._epochs}",
            loss=f"{loss:.4g}",
            valid=self._valid,
        )

    def show_validation(self, progress: TrainingProgress) -> None:
        """Show the validation metric from now on."""
        self._valid = f"valid {progress.last:.4g}"
        if not self._narrow:
            self._valid += f", best {progress.best:.4g} in {progress.best_epoch}"
