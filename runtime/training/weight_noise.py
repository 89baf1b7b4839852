"""Weight noise: gradients at randomly perturbed weights (Graves 2011; Pascanu et al. 2014)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def add_weight_noise(model: nn.Module, std: float) -> Iterator[None]:
    """Add Gaussian noise to every trainable matrix until the block ends.

    Forward and backward pass both belong into the block. Vectors (biases, peepholes, initial
    states) get none. The weights are restored bit for bit.
    """
    if not std:
        yield
        return
    weights = [weight for weight in model.parameters() if weight.requires_grad and weight.dim() > 1]
    clean = [weight.detach().clone() for weight in weights]
    try:
        with torch.no_grad():
            for weight in weights:
                weight.add_(torch.randn_like(weight), alpha=std)
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, clean, strict=True):
                weight.copy_(value)
