"""Perplexity: the exponential of the negative log-likelihood of a step, exp(nll)."""

from __future__ import annotations

import math

from .metric import Metric
from .nll import LIKELIHOOD_TYPES


def perplexity(nll: float) -> float:
    """Return exp(nll), the number of equally likely symbols; infinite beyond 1e308."""
    return math.exp(nll) if nll < math.log(1e308) else math.inf


METRIC = Metric("perplexity", "per symbol", LIKELIHOOD_TYPES, perplexity)
