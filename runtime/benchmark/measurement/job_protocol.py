"""The messages between the benchmark and its worker processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from rnnc.runtime.training.run_state.checkpoint import StoredProgram


class Job(msgspec.Struct, frozen=True):
    """A measurement request: a candidate of a model, at one size."""

    task: Literal["memory", "first"]
    program: StoredProgram
    candidate: str
    steps: int
    rows: int
    threads: int
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class FirstCalls:
    """Costs before the second training step of a process.

    seconds: to make the model and run its first step, minus the time of a later step.
    libraries: compiled ones (0 if all were cached).
    other: seconds by which the first step at another T and B exceeds later ones, and the libraries
        compiled for it; None for baselines, which are made for one size.
    """

    seconds: float
    libraries: int
    other: tuple[float, int] | None
