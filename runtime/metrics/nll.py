"""Negative log-likelihood in nats per time step, over all steps of a split.

This is the convention of Boulanger-Lewandowski et al. 2012 and Pascanu et al. 2014: the sum over
all steps divided by their number, padding left out; not the mean of the sequences' means.
"""

from __future__ import annotations

from typing import Final

from .metric import Metric, identity

LIKELIHOOD_TYPES: Final = ("binary", "symbol")
"""Target types whose loss is a negative log-likelihood."""

METRIC = Metric("nll", "nats per step", LIKELIHOOD_TYPES, identity)
