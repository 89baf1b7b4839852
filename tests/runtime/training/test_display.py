"""The progress bar appears on a terminal of eighty columns only."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from rnnc.runtime.training.progress_bar import ProgressBar
from rnnc.runtime.training.run_state.progress import Progress


def shown(*, terminal: bool, width: int = 80) -> str:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=width, color_system=None)
    with ProgressBar(300, console) as display:
        display.show_batch(7, 3, 15, 11.123456)
        display.show_validation(Progress(epoch=7, last=10.98765, best=10.5, best_epoch=6))
        display.show_batch(8, 4, 15, 9.5)
    return screen.getvalue()


@pytest.mark.parametrize("part", ["epoch 8/300", "4/15", "loss 9.5", "valid 10.99, best 10.5 in 6"])
def test_a_terminal_shows_epoch_loss_and_validation(part):
    assert part in shown(terminal=True)


@pytest.mark.parametrize("part", ["epoch 8/300", "4/15", "loss 9.5", "valid 10.99"])
def test_a_narrow_terminal_shows_them_too(part):
    assert part in shown(terminal=True, width=56)


def test_elsewhere_nothing_is_shown():
    assert shown(terminal=False).strip() == ""
