"""Compare two sets of results within a tolerance, and describe the first mismatch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from .call_results import GRADIENT

TOLERANCE: Final = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Largest difference, relative to the largest entry or 1."""

LOW_PRECISION_ULPS: Final = 16.0
"""Tolerance of other dtypes, in units of their machine epsilon."""

REFERENCE_ERROR_FACTOR: Final = 10.0
"""Allowed error of a backend, as a multiple of the reference's error in the same dtype."""


def tolerance_of(dtype: torch.dtype) -> float:
    """Return the tolerance of a dtype."""
    return TOLERANCE.get(dtype, LOW_PRECISION_ULPS * torch.finfo(dtype).eps)


def find_non_finite(results: Mapping[str, Tensor]) -> str:
    """Return the first name without finite values to compare; among values, ±∞ is a number."""
    for name, value in results.items():
        if value.isnan().any() or (name.startswith(GRADIENT) and not value.isfinite().all()):
            return name
    return ""


def describe_mismatch(
    actual: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    tolerance: float | Mapping[str, float],
    oracle: str = "the reference",
) -> str:
    """Describe where results differ from the expected ones; empty if nowhere."""
    for name, b in expected.items():
        a = actual[name].detach()
        b = b.detach()
        if a.shape != b.shape:
            return f"{name} is {tuple(a.shape)}, {oracle} gives {tuple(b.shape)}"
        if not b.numel():
            continue
        limit = tolerance if isinstance(tolerance, float) else tolerance[name]
        errors = relative_errors(a, b)
        # Not `errors > limit`, which is false for NaN.
        if not bool((errors <= limit).all()):
            worst = int(errors.nan_to_num(nan=torch.inf).argmax())
            index = list(torch.unravel_index(torch.tensor(worst), b.shape))
            where = f" at [{', '.join(str(int(i)) for i in index)}]" if index else ""
            got, expected_value = a.reshape(-1)[worst].item(), b.reshape(-1)[worst].item()
            words = f"{name}{where} is {got:.9g}, {oracle} gives {expected_value:.9g}"
            return f"{words}: off by {float(errors[worst]):.2g}, allowed {limit:.2g}"
    return ""


def relative_errors(a: Tensor, b: Tensor) -> Tensor:
    """Compute |a − b| / max(1, ‖b‖∞), flat, 0 where both are the same infinity."""
    a, b = a.double().reshape(-1), b.double().reshape(-1)
    size = b[b.isfinite()].abs().max() if b.isfinite().any() else b.new_ones(())
    return torch.where(a == b, torch.zeros_like(b), (a - b).abs() / size.clamp(min=1))
