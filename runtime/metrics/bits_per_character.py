"""Bits per character: the negative log-likelihood of a step in bits, nll / ln 2."""

from __future__ import annotations

import math

from .metric import Metric
from .nll import LIKELIHOOD_TYPES


def nats_to_bits(nll: float) -> float:
    """Convert nats to bits."""
    return nll / math.log(2)


METRIC = Metric("bits_per_character", "bits per character", LIKELIHOOD_TYPES, nats_to_bits)
