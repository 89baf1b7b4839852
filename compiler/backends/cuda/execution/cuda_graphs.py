"""A loop, one launch of each of its kernels a step; on a GPU stretches of steps are recorded.

A launch costs a processor about as long as a GPU needs for a whole step. So a stretch of steps is
recorded once in a CUDA graph and played until all steps are done: its kernels read from the `clock`
how many are done, and do nothing for steps that are not there.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from rnnc.compiler.backends.warn_once import tell_once

from .error_classification import reason

STRETCH: Final = 32
"""Steps that are recorded at a time."""

KEPT: Final = 16
"""Recordings that are kept: as many loops as a large model has in a training step."""


class Start(Protocol):
    """A kernel bound to its tensors."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What it reads and writes."""

    @property
    def key(self) -> tuple[Any, ...]:
        """All that a recording of it depends on."""

    def __call__(self, *given: Any) -> None:
        """Start it."""


Record = Callable[[Callable[[], None], torch.device], Callable[[], None]]
"""Makes of work something that does it again."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A stretch of steps, and the clock that it reads."""

    clock: Tensor
    play: Callable[[], None]


class Recordings:
    """The recordings of a model's loops.

    unable: whether recording has failed; then every step is launched by itself.
    """

    def __init__(self) -> None:
        self.unable = False
        self._kept: OrderedDict[tuple[Any, ...], Recording] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[Any, ...]) -> Recording | None:
        """A recording on the same addresses, for the same rows and stream."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: tuple[Any, ...], recording: Recording) -> None:
        """Keep a recording; the one that was not played for longest goes."""
        with self._lock:
            self._kept[key] = recording
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        """Drop all of them; those that are being played live on until they are done."""
        with self._lock:
            self._kept.clear()


def run_steps(launches: Sequence[Start], steps: int, rows: int, recordings: Recordings) -> None:
    """All steps of a loop, recorded where that is worth its while."""
    device = launches[0].tensors[0].device
    recorded = device.type == "cuda" and not torch.cuda.is_current_stream_capturing()
    if recorded and steps >= 2 * STRETCH and not recordings.unable:
        play_steps(launches, steps, rows, recordings, record)
        return
    clock = _clock(device, steps)
    for step in range(steps):
        for launch in launches:
            launch(clock, step, rows)


def play_steps(
    launches: Sequence[Start], steps: int, rows: int, recordings: Recordings, record: Record
) -> None:
    """All steps: the first one by itself, which loads the kernels, then stretch by stretch."""
    device = launches[0].tensors[0].device
    stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
    key = (threading.get_ident(), stream, rows, *(launch.key for launch in launches))
    recording = recordings.get(key)
    clock = _clock(device, steps) if recording is None else recording.clock
    clock[:1].fill_(0)
    clock[1:].fill_(steps)
    for launch in launches:
        launch(clock, 0, rows)
    clock[:1].fill_(1)
    if recording is None:

        def stretch() -> None:
            for ahead in range(STRETCH):
                for launch in launches:
                    launch(clock, ahead, rows)
            clock[:1].add_(STRETCH)

        try:
            recording = Recording(clock, record(stretch, device))
        except RuntimeError as error:
            recordings.unable = True
            said = "steps cannot be recorded in a CUDA graph and are launched one by one"
            tell_once(f"rnnc: {said}, which is slower: {reason(error)}")
            # Nothing that was being recorded has run.
            for ahead in range(steps - 1):
                for launch in launches:
                    launch(clock, ahead, rows)
            return
        recordings.put(key, recording)
    for _ in range(-(-(steps - 1) // STRETCH)):
        recording.play()


def record(work: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Work as a CUDA graph, not yet played."""
    graph = torch.cuda.CUDAGraph()
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            work()
        finally:
            graph.capture_end()
    torch.cuda.current_stream(device).wait_stream(stream)
    return graph.replay


def _clock(device: torch.device, steps: int) -> Tensor:
    clock = torch.full((2,), steps, dtype=torch.int64, device=device)
    clock[:1].fill_(0)
    return clock
