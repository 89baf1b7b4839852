"""Profile an epoch of `rnnc train`'s loop, with a clock around each part."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from performance.sections.markdown import Section
from performance.sections.session import Session
from rnnc.compiler.module import loss_methods
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.operators.sources.spec_file import read_spec
from rnnc.runtime.tasks import find_task
from rnnc.runtime.training import loop
from rnnc.runtime.training.interrupt import InterruptHandler
from rnnc.runtime.training.progress_bar import ProgressBar
from rnnc.runtime.training.session import start_training
from rnnc.runtime.training.settings.training_config import TrainingConfig

PARTS = ("data", "forward", "loss", "backward", "clipping", "optimizer")
"""Timed parts of an update; `bookkeeping` is the rest of an epoch."""


@dataclass
class PhaseClock:
    """Seconds of each part of an epoch; nested parts count for the outer one."""

    epochs: list[dict[str, float]] = field(default_factory=list)
    _now: dict[str, float] = field(default_factory=dict)
    _inside: str = ""
    _begin: float = 0.0

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function to time it as a part."""

        def timed(*arguments: Any, **named: Any) -> Any:
            if self._inside:
                return function(*arguments, **named)
            self._inside, begin = part, time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self._now[part] = self._now.get(part, 0.0) + time.perf_counter() - begin
                self._inside = ""

        return timed

    def begin_epoch(self) -> None:
        """Start the clock of an epoch."""
        self._now, self._begin = {}, time.perf_counter()

    def end_epoch(self) -> None:
        """Record an epoch, validation included, and start the next."""
        elapsed = time.perf_counter() - self._begin
        attributed = sum(self._now.values())
        self.epochs.append({**self._now, "bookkeeping": elapsed - attributed, "epoch": elapsed})
        self.begin_epoch()


def epoch(session: Session) -> Section:
    """Profile DOT(S)-RNN with 745,600 weights on JSB Chorales, batches of 16 by length."""
    table = Section()
    try:
        profiles = {
            name: profile_epoch("zoo:dots_rnn", "jsb", name, epochs=1 if session.quick else 5)
            for name in session.select_rows(("cpu", "aten", "reference"))
        }
    except RnnError as error:
        session.unavailable["the epoch"] = error.diagnostics[0].message
        return table
    names = ("epoch", *PARTS, "bookkeeping", "validation")
    rows = []
    for part in names:
        cells = []
        for seconds in profiles.values():
            updates = seconds["epoch"] - seconds["validation"]
            share = "" if part in {"epoch", "validation"} else f" ({seconds[part] / updates:.0%})"
            cells.append(f"{updates if part == 'epoch' else seconds[part]:.3f}{share}")
        rows.append(["updates of an epoch" if part == "epoch" else part, *cells])
    table.add_table(["seconds", *(f"`{name}`" for name in profiles)], rows)
    cpu_seconds = profiles["cpu"]
    overhead = (cpu_seconds["data"] + cpu_seconds["bookkeeping"]) / (
        cpu_seconds["epoch"] - cpu_seconds["validation"]
    )
    table.add_paragraph(
        f"Data and bookkeeping take {overhead:.1%} of the updates of an epoch on `cpu`."
    )
    return table


def profile_epoch(spec: str, task: str, backend: str, *, epochs: int) -> dict[str, float]:
    """Return seconds by part of the median epoch, the first one left out."""
    clock, chosen = PhaseClock(), find_task(task)
    config = TrainingConfig(epochs=epochs + 1, patience=None, batch_size=16, backend=backend)
    threads = torch.get_num_threads()
    with (
        tempfile.TemporaryDirectory(prefix="rnnc-") as folder,
        InterruptHandler() as interrupt_handler,
    ):
        training = start_training(
            read_spec(spec), chosen, chosen.resolve_options({}), config,
            model=None, parameters={"hidden": 400}, data=None,
            folder=Path(folder) / "run", interrupt_handler=interrupt_handler,
        )  # fmt: skip
        torch.set_num_threads(threads)
        with patch_clocks(clock, training.optimizer), ProgressBar(config.epochs) as display:
            clock.begin_epoch()
            loop.train(training, display)
    rounds = sorted(clock.epochs[1:], key=lambda one: one["epoch"])
    return rounds[len(rounds) // 2]


@contextmanager
def patch_clocks(clock: PhaseClock, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Patch clocks around the parts of the training loop."""

    def validate(*arguments: Any) -> Any:
        done = clock.timed("validation", original_validate)(*arguments)
        clock.end_epoch()
        return done

    original_validate = loop.validate
    parts = (
        (loop, "collate", "data"),
        (loop, "shuffle_by_length", "data"),
        (CompiledRNN, "forward", "forward"),
        (loss_methods, "compute_output_losses", "loss"),
        (torch.Tensor, "backward", "backward"),
        (loop, "clip_grad_norm_", "clipping"),
        (optimizer, "step", "optimizer"),
        (optimizer, "zero_grad", "optimizer"),
    )
    with ExitStack() as stack:
        for owner, name, part in parts:
            timed = clock.timed(part, getattr(owner, name))
            stack.enter_context(patch.object(owner, name, timed))
        stack.enter_context(patch.object(loop, "validate", validate))
        yield
