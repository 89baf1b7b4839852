"""Check that a candidate computes the reference's results before it is timed."""

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
"""Largest relative error of float32, per largest entry or 1."""

REFERENCE_ERROR_FACTOR: Final = 4.0
"""How many times a candidate's error may exceed the reference's, both in float32."""

MAX_TOLERANCE: Final = 1e-2
"""Error beyond any rounding; TF32, which GPUs use for float32, stays below it."""


@dataclass(frozen=True, slots=True)
class ReferenceResult:
    """The expected result of a workload.

    result: the reference's, in float64. tolerance: the largest allowed relative error of float32.
    """

    result: StepResult
    tolerance: float


def compute_reference(workload: Workload) -> ReferenceResult:
    """Compute the result in float64, and the tolerance that rounding in float32 needs.

    The tolerance grows with the float32 reference's own error, as over many steps.
    """
    from rnnc.runtime.benchmark.baselines.backends import compute_step_result

    float32_result = compute_step_result(workload, workload.model)
    if any(state.initial_value.kind == "uniform" for state in workload.graph.states):
        return ReferenceResult(float32_result, TOLERANCE)  # float64 would draw other random numbers
    float64_workload = replace(
        workload,
        model=copy.deepcopy(workload.model).double(),
        inputs={n: v.double() if v.is_floating_point() else v for n, v in workload.inputs.items()},
        output_gradients=tuple(gradient.double() for gradient in workload.output_gradients),
    )
    result = compute_step_result(float64_workload, float64_workload.model)
    if workload.device.type == "cuda":
        return ReferenceResult(result, MAX_TOLERANCE)
    reference_error = max(
        (
            relative_error(a, b)
            for _, a, b in _pair_tensors(float32_result, result)
            if a is not None
        ),
        default=0,
    )
    return ReferenceResult(
        result, max(TOLERANCE, min(REFERENCE_ERROR_FACTOR * reference_error, MAX_TOLERANCE))
    )


def describe_mismatch(candidate: Candidate, reference: ReferenceResult) -> str:
    """Describe a candidate's first difference from the reference; empty if there is none."""
    if candidate.compute_result is None:
        return ""
    result = candidate.compute_result()
    worst, worst_name = 0.0, ""
    for name, actual, expected in _pair_tensors(result, reference.result):
        if actual is None or actual.shape != expected.shape:
            return f"it does not compute {name}"
        error = relative_error(actual, expected)
        if not error <= worst:
            worst, worst_name = error, name
    return (
        ""
        if worst <= reference.tolerance
        else f"{worst_name} is off by {worst:.1e} of its largest entry"
    )


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Return ‖a − b‖∞ / max(1, ‖b‖∞); infinite if only one of them is finite."""
    if not expected.numel():
        return 0.0
    if not torch.equal(actual.isfinite(), expected.isfinite()):
        return float("inf")
    error = (actual.double() - expected.double()).nan_to_num().abs().max().item()
    return float(error / max(1.0, expected.double().nan_to_num().abs().max().item()))


def _pair_tensors(
    answer: StepResult, right: StepResult
) -> Iterator[tuple[str, Tensor | None, Tensor]]:
    for index, expected in enumerate(right.outputs):
        actual = answer.outputs[index] if index < len(answer.outputs) else None
        yield f"output {index + 1}", actual, expected
    for name, expected in right.gradients.items():
        yield f"the gradient of {name}", answer.gradients.get(name), expected
