"""Run a loop as one launch per kernel and step, captured in CUDA graphs of many steps.

A launch costs the CPU about as much time as the GPU needs for a step. So `CAPTURED_STEPS` steps are
captured once and replayed until all steps are done. The kernels read a step counter in GPU memory
(done, total), and do nothing for steps beyond the last one.
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
"""Steps of one CUDA graph: one replay stands for this many times the launches of a step."""

MAX_GRAPHS: Final = 16
"""CUDA graphs in the cache: as many loops as a large model has in a training step."""


class LaunchableKernel(Protocol):
    """Protocol of a kernel bound to its tensors, which a CUDA graph can capture."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Return the tensors that it reads and writes."""

    @property
    def capture_key(self) -> tuple[Any, ...]:
        """Return everything that a CUDA graph of this launch depends on."""

    def __call__(self, *leading: Any) -> None:
        """Launch the kernel."""


CaptureFunction = Callable[[Callable[[], None], torch.device], Callable[[], None]]
"""Captures the launches that a function makes; returns a function that replays them."""


@dataclass(frozen=True, slots=True)
class CapturedGraph:
    """A CUDA graph of `CAPTURED_STEPS` steps, and the step counter that its kernels read."""

    step_counter: Tensor
    replay: Callable[[], None]


class CudaGraphCache:
    """An LRU cache of the CUDA graphs of a model's loops.

    capture_failed: whether a capture has failed; from then on each step is launched by itself.
    """

    def __init__(self) -> None:
        self.capture_failed = False
        self._graphs: OrderedDict[tuple[Any, ...], CapturedGraph] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[Any, ...]) -> CapturedGraph | None:
        """Return the graph for these addresses, batch size and stream, or None."""
        with self._lock:
            if key in self._graphs:
                self._graphs.move_to_end(key)
            return self._graphs.get(key)

    def put(self, key: tuple[Any, ...], graph: CapturedGraph) -> None:
        """Add a graph, and evict the least recently used one beyond `MAX_GRAPHS`."""
        with self._lock:
            self._graphs[key] = graph
            while len(self._graphs) > MAX_GRAPHS:
                self._graphs.popitem(last=False)

    def clear(self) -> None:
        """Drop all graphs; one that is being replayed lives until its end."""
        with self._lock:
            self._graphs.clear()


def run_steps(
    launches: Sequence[LaunchableKernel], steps: int, batch_size: int, graphs: CudaGraphCache
) -> None:
    """Run all steps of a loop, by CUDA graphs if it is long enough to replay one twice."""
    device = launches[0].tensors[0].device
    can_capture = device.type == "cuda" and not torch.cuda.is_current_stream_capturing()
    if can_capture and steps >= 2 * CAPTURED_STEPS and not graphs.capture_failed:
        replay_steps(launches, steps, batch_size, graphs, capture_graph)
        return
    step_counter = _make_step_counter(device, steps)
    for step in range(steps):
        for launch in launches:
            launch(step_counter, step, batch_size)


def replay_steps(
    launches: Sequence[LaunchableKernel],
    steps: int,
    batch_size: int,
    graphs: CudaGraphCache,
    capture: CaptureFunction,
) -> None:
    """Run the first step by itself, which loads the kernels, and replay graphs for the others."""
    device = launches[0].tensors[0].device
    stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
    key = (threading.get_ident(), stream, batch_size, *(launch.capture_key for launch in launches))
    graph = graphs.get(key)
    step_counter = _make_step_counter(device, steps) if graph is None else graph.step_counter
    step_counter[:1].fill_(0)
    step_counter[1:].fill_(steps)
    for launch in launches:
        launch(step_counter, 0, batch_size)
    step_counter[:1].fill_(1)
    if graph is None:

        def run_captured_steps() -> None:
            for ahead in range(CAPTURED_STEPS):
                for launch in launches:
                    launch(step_counter, ahead, batch_size)
            step_counter[:1].add_(CAPTURED_STEPS)

        try:
            graph = CapturedGraph(step_counter, capture(run_captured_steps, device))
        except RuntimeError as error:
            graphs.capture_failed = True
            message = "steps cannot be recorded in a CUDA graph and are launched one by one"
            warn_once(f"rnnc: {message}, which is slower: {summarize_error(error)}")
            # A failed capture has launched nothing: run all steps but the first.
            for offset in range(steps - 1):
                for launch in launches:
                    launch(step_counter, offset, batch_size)
            return
        graphs.put(key, graph)
    for _ in range(-(-(steps - 1) // CAPTURED_STEPS)):
        graph.replay()


def capture_graph(work: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Capture `work` in a CUDA graph without running it; return its replay function."""
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
    step_counter = torch.full((2,), steps, dtype=torch.int64, device=device)
    step_counter[:1].fill_(0)
    return step_counter
