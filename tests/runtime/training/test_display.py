"""The progress bar: seen on a terminal of eighty columns, and nowhere else."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from rnnc.runtime.training.display import Display
from rnnc.runtime.training.progress import Progress


def shown(*, terminal: bool) -> str:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=80, color_system=None)
    with Display(300, console) as display:
        display.batch(7, 3, 15, 11.123456)
        display.validated(Progress(epoch=7, last=10.98765, best=10.5, best_epoch=6))
        display.batch(8, 4, 15, 9.5)
    return screen.getvalue()


@pytest.mark.parametrize("part", ["epoch 8/300", "4/15", "loss 9.5", "valid 10.99, best 10.5 in 6"])
def test_a_terminal_shows_epoch_loss_and_validation(part):
    assert part in shown(terminal=True)


def test_elsewhere_nothing_is_shown():
    assert shown(terminal=False).strip() == ""
