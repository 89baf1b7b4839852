"""Whether a contender computes the same function: nothing else is worth being timed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from rnnc.runtime.benchmark.workload.candidate import Answer, Contender
from rnnc.runtime.benchmark.workload.workload import Case

TOLERANCE: Final = 1e-4
"""Of float32: the largest difference, as a part of the largest entry or of 1."""

MARGIN: Final = 4.0
"""By how many times a contender may be further off than the reference, both in float32."""

MOST: Final = 1e-2
"""What no rounding excuses; also what TF32 may be off by, which GPUs take for float32."""


@dataclass(frozen=True, slots=True)
class Right:
    """What a case's answer is.

    answer: the reference's, in float64. allowed: by how much float32 may differ, in any entry.
    """

    answer: Answer
    allowed: float


def right_answer(case: Case) -> Right:
    """What the reference computes in float64, and how much rounding this case excuses.

    Where the reference in float32 is itself far off, as over many steps, others may be.
    """
    from rnnc.runtime.benchmark.baselines.backends import answer_of

    single = answer_of(case, case.model)
    if any(state.initial.kind == "uniform" for state in case.graph.states):
        return Right(single, TOLERANCE)  # other numbers would be drawn in float64
    double = replace(
        case,
        model=copy.deepcopy(case.model).double(),
        inputs={n: v.double() if v.is_floating_point() else v for n, v in case.inputs.items()},
        given=tuple(gradient.double() for gradient in case.given),
    )
    answer = answer_of(double, double.model)
    if case.device.type == "cuda":
        return Right(answer, MOST)
    own = max((difference(a, b) for _, a, b in _pairs(single, answer) if a is not None), default=0)
    return Right(answer, max(TOLERANCE, min(MARGIN * own, MOST)))


def disagreement(contender: Contender, right: Right) -> str:
    """What a contender computes otherwise than the reference, in words; empty if nothing."""
    if contender.answer is None:
        return ""
    answer = contender.answer()
    worst, where = 0.0, ""
    for name, found, wanted in _pairs(answer, right.answer):
        if found is None or found.shape != wanted.shape:
            return f"it does not compute {name}"
        off = difference(found, wanted)
        if not off <= worst:
            worst, where = off, name
    return "" if worst <= right.allowed else f"{where} is off by {worst:.1e} of its largest entry"


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
