"""Names of all candidates, without importing torch."""

from __future__ import annotations

from typing import Final

BACKEND_NAMES: Final[tuple[str, ...]] = ("cuda", "cpu", "aten", "reference")
"""rnnc's own backends, the fastest first."""

BASELINE_NAMES: Final[tuple[str, ...]] = ("torch.nn", "compiled-cell", "jax")
"""Other implementations of the same function."""

FLOOR_NAMES: Final[tuple[str, ...]] = ("products", "peak")
"""Lower bounds that do a part of the work, so that losing to them means nothing."""

CANDIDATE_NAMES: Final[tuple[str, ...]] = (*BACKEND_NAMES, *BASELINE_NAMES, *FLOOR_NAMES)
"""All candidates, in the order of display."""

CANDIDATES_BY_DEVICE: Final[dict[str, tuple[str, ...]]] = {
    "cpu": tuple(name for name in CANDIDATE_NAMES if name != "cuda"),
    "cuda": ("cuda", "aten", "reference", "torch.nn", "compiled-cell"),
}
"""Candidates that run on a device."""
