"""Whether a contender computes the same function: nothing else is worth being timed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

from .case import Case
from .contender import Answer, Contender

TOLERANCE: Final = 1e-4
"""Of float32: the largest difference, as a part of the largest entry or of 1."""


def right_answer(case: Case) -> Answer:
    """What the reference computes."""
    from .rivals.backends import answer_of

    return answer_of(case, case.model)


def disagreement(contender: Contender, right: Answer) -> str:
    """What a contender computes otherwise than the reference, in words; empty if nothing."""
    if contender.answer is None:
        return ""
    answer = contender.answer()
    worst, where = 0.0, ""
    for name, found, wanted in _pairs(answer, right):
        if found is None or found.shape != wanted.shape:
            return f"it does not compute {name}"
        off = difference(found, wanted)
        if not off <= worst:
            worst, where = off, name
    return "" if worst <= TOLERANCE else f"{where} is off by {worst:.1e} of its largest entry"


def difference(found: Tensor, wanted: Tensor) -> float:
    """‖a − b‖∞ / max(1, ‖b‖∞); infinite where only one of them is a number."""
    if not wanted.numel():
        return 0.0
    if not torch.equal(found.isfinite(), wanted.isfinite()):
        return float("inf")
    off = (found.double() - wanted.double()).nan_to_num().abs().max().item()
    return float(off / max(1.0, wanted.double().nan_to_num().abs().max().item()))


def _pairs(answer: Answer, right: Answer) -> Iterator[tuple[str, Tensor | None, Tensor]]:
    for index, wanted in enumerate(right.outputs):
        found = answer.outputs[index] if index < len(answer.outputs) else None
        yield f"output {index + 1}", found, wanted
    for name, wanted in right.gradients.items():
        yield f"the gradient of {name}", answer.gradients.get(name), wanted
