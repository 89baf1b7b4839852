"""Where an epoch of training goes: `rnnc train`'s own loop, with a clock around its parts."""

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
"""The timed parts of an update; `bookkeeping` is what is left of an epoch."""


@dataclass
class PhaseClock:
    """Seconds by part of an epoch; parts inside of parts count for the outer one."""

    epochs: list[dict[str, float]] = field(default_factory=list)
    _now: dict[str, float] = field(default_factory=dict)
    _inside: str = ""
    _begin: float = 0.0

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that is timed as a part."""

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
        """An epoch begins."""
        self._now, self._begin = {}, time.perf_counter()

    def end_epoch(self) -> None:
        """It has ended, validation included."""
        whole = time.perf_counter() - self._begin
        known = sum(self._now.values())
        self.epochs.append({**self._now, "bookkeeping": whole - known, "epoch": whole})
        self.begin_epoch()


def epoch(session: Session) -> Section:
    """JSB Chorales, DOT(S)-RNN with 745,600 weights, batches of 16 by length."""
    table = Section()
    try:
        found = {
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
        for seconds in found.values():
            whole = seconds["epoch"] - seconds["validation"]
            share = "" if part in {"epoch", "validation"} else f" ({seconds[part] / whole:.0%})"
            cells.append(f"{whole if part == 'epoch' else seconds[part]:.3f}{share}")
        rows.append(["updates of an epoch" if part == "epoch" else part, *cells])
    table.add_table(["seconds", *(f"`{name}`" for name in found)], rows)
    own = found["cpu"]
    rest = (own["data"] + own["bookkeeping"]) / (own["epoch"] - own["validation"])
    table.add_paragraph(
        f"Data and bookkeeping take {rest:.1%} of the updates of an epoch on `cpu`."
    )
    return table


def profile_epoch(spec: str, task: str, backend: str, *, epochs: int) -> dict[str, float]:
    """The median epoch of a training, the first one left out: seconds by part."""
    clock, chosen = PhaseClock(), find_task(task)
    config = TrainingConfig(epochs=epochs + 1, patience=None, batch_size=16, backend=backend)
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory(prefix="rnnc-") as folder, InterruptHandler() as interruption:
        training = start_training(
            read_spec(spec), chosen, chosen.resolve_options({}), config,
            model=None, parameters={"hidden": 400}, data=None,
            folder=Path(folder) / "run", interruption=interruption,
        )  # fmt: skip
        torch.set_num_threads(threads)
        with patch_clocks(clock, training.optimizer), ProgressBar(config.epochs) as display:
            clock.begin_epoch()
            loop.train(training, display)
    rounds = sorted(clock.epochs[1:], key=lambda one: one["epoch"])
    return rounds[len(rounds) // 2]


@contextmanager
def patch_clocks(clock: PhaseClock, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """The training loop with a clock around its parts."""

    def validate(*arguments: Any) -> Any:
        done = clock.timed("validation", own)(*arguments)
        clock.end_epoch()
        return done

    own = loop.validate
    parts = (
        (loop, "collate", "data"),
        (loop, "shuffle_by_length", "data"),
        (CompiledRNN, "forward", "forward"),
        (loss_methods, "scored_losses", "loss"),
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
