"""Handle Ctrl-C between two batches of the training loop."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType


class InterruptedTrainingError(Exception):
    """The run was interrupted, and its state is saved."""


class InterruptHandler:
    """A context that records the first SIGINT; the second one stops at once."""

    def __init__(self) -> None:
        self.requested = False
        self._before: object = None

    def __enter__(self) -> InterruptHandler:
        # Python allows only the main thread to set signal handlers.
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
        # Not print: the signal may interrupt a write to the same buffer.
        os.write(2, b"\nrnnc: stopping after this batch; once more to stop at once\n")
