"""Bits per character: the negative log-likelihood of a step in bits, nll / ln 2."""

from __future__ import annotations

import math

from .metric import Metric
from .nll import LIKELY


def bits(nll: float) -> float:
    """Nats as bits."""
    return nll / math.log(2)


METRIC = Metric("bits_per_character", "bits per character", LIKELY, bits)
