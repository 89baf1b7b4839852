"""The names of all contenders, for a command line that does not wait for torch."""

from __future__ import annotations

from typing import Final

BACKEND_NAMES: Final[tuple[str, ...]] = ("cuda", "cpu", "aten", "reference")
"""What rnnc itself brings along, the fastest first."""

BASELINE_NAMES: Final[tuple[str, ...]] = ("torch.nn", "compiled-cell", "jax")
"""Others that compute the same."""

FLOOR_NAMES: Final[tuple[str, ...]] = ("products", "peak")
"""What does a part of the work only, so that nothing can lose to it."""

CANDIDATE_NAMES: Final[tuple[str, ...]] = (*BACKEND_NAMES, *BASELINE_NAMES, *FLOOR_NAMES)
"""All of them, in the order in which they are shown."""

CANDIDATES_BY_DEVICE: Final[dict[str, tuple[str, ...]]] = {
    "cpu": tuple(name for name in CANDIDATE_NAMES if name != "cuda"),
    "cuda": ("cuda", "aten", "reference", "torch.nn", "compiled-cell"),
}
"""Those that can take part on a device."""
