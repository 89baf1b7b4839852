"""Small trainings on generated data, started as the command line does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors.torch import load_file

from rnnc.grammar.source import Source
from rnnc.runtime.tasks import find_task
from rnnc.runtime.tasks.task import Task
from rnnc.runtime.training.interrupt import InterruptHandler
from rnnc.runtime.training.loop import TrainingSession, train
from rnnc.runtime.training.progress_bar import ProgressBar
from rnnc.runtime.training.run_state.progress import Progress
from rnnc.runtime.training.session import start_training
from rnnc.runtime.training.settings.training_config import TrainingConfig
from support.training.piano_rolls import small_data

CHORALES = """
input x: binary[88]
state h: real[6]

h' = x ⊕ h
x' = ▷ h'
"""
# Random masks in training, and a random initial state in evaluation too.
RANDOM_CHORALES = """
input x: binary[88]
state h: real[6] = uniform(0, 0.1)

h' = dropout(0.3, x ⊕ h)
x' = ▷ h'
"""
ADDING = """
input x: real[2]
state h: real[6]
output y: real at end

h' = x ⊕ h
y = ▷ h'
"""


class InterruptAfter(InterruptHandler):
    """An interrupt handler that reports an interrupt after some polls."""

    def __init__(self, questions: int | None = None) -> None:
        self.left = questions

    @property
    def requested(self) -> bool:  # type: ignore[override]
        if self.left is None:
            return False
        self.left -= 1
        return self.left < 0


def start_small_training(
    folder: Path,
    spec: str = CHORALES,
    task: str | Task = "jsb",
    *,
    options: Mapping[str, int] | None = None,
    interrupt_handler: InterruptHandler | None = None,
    **settings: Any,
) -> TrainingSession:
    """Start a training in `folder/run`; JSB Chorales is that of `small_data`."""
    chosen_task = task if isinstance(task, Task) else find_task(task)
    return start_training(
        Source(spec, "small.rnn"),
        chosen_task,
        chosen_task.resolve_options(options or {}),
        TrainingConfig(**{"epochs": 3, "batch_size": 5, "learning_rate": 0.01, **settings}),
        model=None,
        parameters={},
        data=small_data(folder / "data"),
        folder=folder / "run",
        interrupt_handler=interrupt_handler or InterruptAfter(),
    )


def run_to_end(training: TrainingSession) -> Progress:
    """Train to the end without display."""
    with ProgressBar(training.config.epochs, Console(quiet=True)) as display:
        return train(training, display)


def have_equal_tensors(left: Path, right: Path) -> bool:
    """Test that two checkpoints hold the same tensors, bit for bit."""
    a, b = load_file(left), load_file(right)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
