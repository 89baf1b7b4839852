"""What takes part in a comparison: a way to run a forward pass, and one to run a training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from .workload import Case


class Unavailable(Exception):
    """A contender cannot take part; the text says why, in a few words."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a contender computes.

    outputs: in the graph's order. gradients: of each parameter that is not frozen, by its name in
    a state_dict.
    """

    outputs: tuple[Tensor, ...]
    gradients: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to compute a case.

    what: what really runs, in words.
    forward: a forward pass in evaluation, without gradients.
    step: a forward pass in training, and the gradients of all parameters.
    answer: what `step` computes; None for floors, which do a part of the work and answer nothing.
    """

    name: str
    what: str
    forward: Callable[[], object]
    step: Callable[[], object]
    answer: Callable[[], Answer] | None


Maker = Callable[[Case], Contender]
"""Makes a contender for a case; raises `Unavailable` where it cannot take part."""
