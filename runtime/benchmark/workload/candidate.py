"""A benchmark candidate: one way to run forward passes and training steps of a workload."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from .workload import Workload


class Unavailable(Exception):
    """A candidate cannot take part; the text is a short reason."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """The result of a training step.

    outputs: in the graph's order. gradients: of each parameter that is not frozen, by its name in
    a state_dict.
    """

    outputs: tuple[Tensor, ...]
    gradients: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to compute a workload.

    description: the implementation, in words.
    forward: runs a forward pass in evaluation, without gradients.
    step: runs a forward pass in training, and the gradients of all parameters.
    compute_result: returns the result of `step`; None for floors, which do only a part of the work.
    """

    name: str
    description: str
    forward: Callable[[], object]
    step: Callable[[], object]
    compute_result: Callable[[], StepResult] | None


CandidateFactory = Callable[[Workload], Candidate]
"""Makes a candidate for a workload; raises `Unavailable` if it cannot take part."""
