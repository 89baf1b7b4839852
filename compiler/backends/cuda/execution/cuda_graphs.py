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

from rnnc.compiler.backends.warn_once import warn_once

from .error_classification import summarize_error

CAPTURED_STEPS: Final = 32
"""Steps that are recorded at a time."""

MAX_GRAPHS: Final = 16
"""Recordings that are kept: as many loops as a large model has in a training step."""


class LaunchableKernel(Protocol):
    """A kernel bound to its tensors."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What it reads and writes."""

    @property
    def capture_key(self) -> tuple[Any, ...]:
        """All that a recording of it depends on."""

    def __call__(self, *leading: Any) -> None:
        """Start it."""


CaptureFunction = Callable[[Callable[[], None], torch.device], Callable[[], None]]
"""Makes of work something that does it again."""


@dataclass(frozen=True, slots=True)
class CapturedGraph:
    """A stretch of steps, and the clock that it reads."""

    step_counter: Tensor
    replay: Callable[[], None]


class CudaGraphCache:
    """The recordings of a model's loops.

    capture_failed: whether recording has failed; then every step is launched by itself.
    """

    def __init__(self) -> None:
        self.capture_failed = False
        self._graphs: OrderedDict[tuple[Any, ...], CapturedGraph] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[Any, ...]) -> CapturedGraph | None:
        """A recording on the same addresses, for the same rows and stream."""
        with self._lock:
            if key in self._graphs:
                self._graphs.move_to_end(key)
            return self._graphs.get(key)

    def put(self, key: tuple[Any, ...], graph: CapturedGraph) -> None:
        """Keep a recording; the one that was not played for longest goes."""
        with self._lock:
            self._graphs[key] = graph
            while len(self._graphs) > MAX_GRAPHS:
                self._graphs.popitem(last=False)

    def clear(self) -> None:
        """Drop all of them; those that are being played live on until they are done."""
        with self._lock:
            self._graphs.clear()


def run_steps(
    launches: Sequence[LaunchableKernel], steps: int, rows: int, graphs: CudaGraphCache
) -> None:
    """All steps of a loop, recorded where that is worth its while."""
    device = launches[0].tensors[0].device
    recorded = device.type == "cuda" and not torch.cuda.is_current_stream_capturing()
    if recorded and steps >= 2 * CAPTURED_STEPS and not graphs.capture_failed:
        replay_steps(launches, steps, rows, graphs, capture_graph)
        return
    clock = _make_step_counter(device, steps)
    for step in range(steps):
        for launch in launches:
            launch(clock, step, rows)


def replay_steps(
    launches: Sequence[LaunchableKernel],
    steps: int,
    rows: int,
    graphs: CudaGraphCache,
    capture: CaptureFunction,
) -> None:
    """All steps: the first one by itself, which loads the kernels, then stretch by stretch."""
    device = launches[0].tensors[0].device
    stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
    key = (threading.get_ident(), stream, rows, *(launch.capture_key for launch in launches))
    recording = graphs.get(key)
    clock = _make_step_counter(device, steps) if recording is None else recording.step_counter
    clock[:1].fill_(0)
    clock[1:].fill_(steps)
    for launch in launches:
        launch(clock, 0, rows)
    clock[:1].fill_(1)
    if recording is None:

        def stretch() -> None:
            for ahead in range(CAPTURED_STEPS):
                for launch in launches:
                    launch(clock, ahead, rows)
            clock[:1].add_(CAPTURED_STEPS)

        try:
            recording = CapturedGraph(clock, capture(stretch, device))
        except RuntimeError as error:
            graphs.capture_failed = True
            said = "steps cannot be recorded in a CUDA graph and are launched one by one"
            warn_once(f"rnnc: {said}, which is slower: {summarize_error(error)}")
            # Nothing that was being recorded has run.
            for ahead in range(steps - 1):
                for launch in launches:
                    launch(clock, ahead, rows)
            return
        graphs.put(key, recording)
    for _ in range(-(-(steps - 1) // CAPTURED_STEPS)):
        recording.replay()


def capture_graph(work: Callable[[], None], device: torch.device) -> Callable[[], None]:
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


def _make_step_counter(device: torch.device, steps: int) -> Tensor:
    clock = torch.full((2,), steps, dtype=torch.int64, device=device)
    clock[:1].fill_(0)
    return clock
