"""The names of all contenders, for a command line that does not wait for torch."""

from __future__ import annotations

from typing import Final

OWN: Final[tuple[str, ...]] = ("cuda", "cpu", "aten", "reference")
"""What rnnc itself brings along, the fastest first."""

RIVALS: Final[tuple[str, ...]] = ("torch.nn", "compiled-cell", "jax")
"""Others that compute the same."""

FLOORS: Final[tuple[str, ...]] = ("products", "peak")
"""What does a part of the work only, so that nothing can lose to it."""

NAMES: Final[tuple[str, ...]] = (*OWN, *RIVALS, *FLOORS)
"""All of them, in the order in which they are shown."""

DEVICES: Final[dict[str, tuple[str, ...]]] = {
    "cpu": tuple(name for name in NAMES if name != "cuda"),
    "cuda": ("cuda", "aten", "reference", "torch.nn", "compiled-cell"),
}
"""Those that can take part on a device."""
