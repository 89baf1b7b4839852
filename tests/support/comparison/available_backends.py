"""The backends that run on this machine."""

from __future__ import annotations

from typing import Final

import torch

import rnnc
from rnnc.compiler.backends.registry import BACKENDS


def _available_backends() -> tuple[str, ...]:
    names: list[str] = []
    for name in BACKENDS:
        try:
            model = rnnc.compile(
                "input x: real\nstate h: real[2]\nh' = x ⊕ h\nx' = ▷ h'\n", backend=name
            )
            model(torch.zeros(1, 1, 1))
        except rnnc.RnnError:
            continue
        names.append(name)
    return tuple(names)


AVAILABLE_BACKENDS: Final = _available_backends()
"""Backends that run float32 on the CPU; GPU backends have separate tests."""
