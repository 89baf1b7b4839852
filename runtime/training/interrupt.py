"""Ctrl-C as a wish that the training loop grants between two batches."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType


class InterruptedTrainingError(Exception):
    """The run was asked to stop, and its state is saved."""


class InterruptHandler:
    """Notes the first interrupt (SIGINT) inside its block; the second one ends things at once."""

    def __init__(self) -> None:
        self.requested = False
        self._before: object = None

    def __enter__(self) -> InterruptHandler:
        # Only the main thread may set handlers; elsewhere somebody else has Ctrl-C in hand.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # Not print: the signal may have come in the middle of a write to the same buffer.
        os.write(2, b"\nrnnc: stopping after this batch; once more to stop at once\n")
