"""Whether a contender computes the same function: nothing else is worth being timed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from rnnc.runtime.benchmark.workload.candidate import Candidate, StepResult
from rnnc.runtime.benchmark.workload.workload import Workload

TOLERANCE: Final = 1e-4
"""Of float32: the largest difference, as a part of the largest entry or of 1."""

REFERENCE_ERROR_FACTOR: Final = 4.0
"""By how many times a contender may be further off than the reference, both in float32."""

MAX_TOLERANCE: Final = 1e-2
"""What no rounding excuses; also what TF32 may be off by, which GPUs take for float32."""


@dataclass(frozen=True, slots=True)
class ReferenceResult:
    """What a case's answer is.

    result: the reference's, in float64. allowed: by how much float32 may differ, in any entry.
    """

    result: StepResult
    tolerance: float


def compute_reference(case: Workload) -> ReferenceResult:
    """What the reference computes in float64, and how much rounding this case excuses.

    Where the reference in float32 is itself far off, as over many steps, others may be.
    """
    from rnnc.runtime.benchmark.baselines.backends import compute_step_result

    single = compute_step_result(case, case.model)
    if any(state.initial_value.kind == "uniform" for state in case.graph.states):
        return ReferenceResult(single, TOLERANCE)  # other numbers would be drawn in float64
    double = replace(
        case,
        model=copy.deepcopy(case.model).double(),
        inputs={n: v.double() if v.is_floating_point() else v for n, v in case.inputs.items()},
        output_gradients=tuple(gradient.double() for gradient in case.output_gradients),
    )
    answer = compute_step_result(double, double.model)
    if case.device.type == "cuda":
        return ReferenceResult(answer, MAX_TOLERANCE)
    own = max(
        (relative_error(a, b) for _, a, b in _pair_tensors(single, answer) if a is not None),
        default=0,
    )
    return ReferenceResult(answer, max(TOLERANCE, min(REFERENCE_ERROR_FACTOR * own, MAX_TOLERANCE)))


def describe_mismatch(contender: Candidate, reference: ReferenceResult) -> str:
    """What a contender computes otherwise than the reference, in words; empty if nothing."""
    if contender.compute_result is None:
        return ""
    answer = contender.compute_result()
    worst, where = 0.0, ""
    for name, found, wanted in _pair_tensors(answer, reference.result):
        if found is None or found.shape != wanted.shape:
            return f"it does not compute {name}"
        off = relative_error(found, wanted)
        if not off <= worst:
            worst, where = off, name
    return (
        ""
        if worst <= reference.tolerance
        else f"{where} is off by {worst:.1e} of its largest entry"
    )


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """‖a − b‖∞ / max(1, ‖b‖∞); infinite where only one of them is a number."""
    if not expected.numel():
        return 0.0
    if not torch.equal(actual.isfinite(), expected.isfinite()):
        return float("inf")
    off = (actual.double() - expected.double()).nan_to_num().abs().max().item()
    return float(off / max(1.0, expected.double().nan_to_num().abs().max().item()))


def _pair_tensors(
    answer: StepResult, right: StepResult
) -> Iterator[tuple[str, Tensor | None, Tensor]]:
    for index, wanted in enumerate(right.outputs):
        found = answer.outputs[index] if index < len(answer.outputs) else None
        yield f"output {index + 1}", found, wanted
    for name, wanted in right.gradients.items():
        yield f"the gradient of {name}", answer.gradients.get(name), wanted
