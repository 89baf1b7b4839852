"""The backends that this machine can run, for tests that hold for all of them."""

from __future__ import annotations

from typing import Final

import torch

import rnnc
from rnnc.compiler.backends.registry import BACKENDS


def _available_backends() -> tuple[str, ...]:
    found: list[str] = []
    for name in BACKENDS:
        try:
            model = rnnc.compile(
                "input x: real\nstate h: real[2]\nh' = x ⊕ h\nx' = ▷ h'\n", backend=name
            )
            model(torch.zeros(1, 1, 1))
        except rnnc.RnnError:
            continue
        found.append(name)
    return tuple(found)


AVAILABLE_BACKENDS: Final = _available_backends()
"""In float32 on the CPU; those of a GPU have tests of their own."""
