"""Assertions on tensors and nested results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def relative_error(a: Tensor, b: Tensor) -> float:
    """Return ‖a − b‖∞ / max(1, ‖b‖∞) in float64; infinite if one of them is not finite."""
    if not b.numel():
        return 0.0
    a, b = a.detach().double(), b.detach().double()
    if not (a.isfinite().all() and b.isfinite().all()):
        return float("inf")
    return float((a - b).abs().max() / b.abs().max().clamp(min=1))


def assert_close(a: Any, b: Any, tolerance: float, what: str = "values") -> None:
    """Assert that tensors, tuples, dictionaries or None agree; `b` is the oracle.

    Shapes and dtypes must be equal, and every number finite.
    """
    if isinstance(b, Tensor):
        assert isinstance(a, Tensor), f"{what}: got {type(a).__name__}"
        assert a.shape == b.shape, f"{what}: {tuple(a.shape)} is not {tuple(b.shape)}"
        assert a.dtype == b.dtype, f"{what}: {a.dtype} is not {b.dtype}"
        if not b.is_floating_point():
            assert torch.equal(a, b), f"{what}: {a} is not {b}"
            return
        far = relative_error(a, b)
        assert far <= tolerance, f"{what}: off by {far:.3g}, allowed {tolerance:g}"
    elif isinstance(b, Mapping):
        assert isinstance(a, Mapping), f"{what}: got {type(a).__name__}"
        assert set(a) == set(b), f"{what}: {sorted(a)} are not {sorted(b)}"
        for key in b:
            assert_close(a[key], b[key], tolerance, f"{what}[{key!r}]")
    elif isinstance(b, Sequence):
        assert isinstance(a, Sequence), f"{what}: got {type(a).__name__}"
        assert len(a) == len(b), f"{what}: {len(a)} parts instead of {len(b)}"
        for index, (left, right) in enumerate(zip(a, b, strict=True)):
            assert_close(left, right, tolerance, f"{what}[{index}]")
    else:
        assert a is b is None, f"{what}: {a!r} is not {b!r}"


def parameter_gradients(module: torch.nn.Module) -> dict[str, Tensor]:
    """Return the gradients of a module's parameters by name, zero if there is none."""
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in module.named_parameters()
        if p.requires_grad
    }


def weighted_sum(values: Any, seed: int = 0) -> Tensor:
    """Return a random weighted sum of all entries of all tensors."""
    generator = torch.Generator().manual_seed(seed)
    parts = [v for v in (values if isinstance(values, tuple) else (values,)) if v is not None]
    flat: list[Tensor] = []
    for part in parts:
        if isinstance(part, tuple):
            flat.append(weighted_sum(part, seed + 1))
        elif part.is_floating_point():
            weight = torch.randn(part.shape, generator=generator, dtype=torch.float64)
            flat.append((part * weight.to(part.dtype)).sum())
    return sum(flat, torch.zeros(()))
