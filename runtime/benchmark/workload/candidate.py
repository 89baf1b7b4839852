"""What takes part in a comparison: a way to run a forward pass, and one to run a training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from .workload import Workload


class Unavailable(Exception):
    """A contender cannot take part; the text says why, in a few words."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a contender computes.

    outputs: in the graph's order. gradients: of each parameter that is not frozen, by its name in
    a state_dict.
    """

    outputs: tuple[Tensor, ...]
    gradients: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to compute a case.

    description: what really runs, in words.
    forward: a forward pass in evaluation, without gradients.
    step: a forward pass in training, and the gradients of all parameters.
    compute_result: what `step` computes; None for floors, which do a part of the work and answer nothing.
    """

    name: str
    description: str
    forward: Callable[[], object]
    step: Callable[[], object]
    compute_result: Callable[[], StepResult] | None


CandidateFactory = Callable[[Workload], Candidate]
"""Makes a contender for a case; raises `Unavailable` where it cannot take part."""
