"""Squared error: summed over components, averaged over all steps or answers of a split."""

from __future__ import annotations

from .metric import Metric, identity

METRIC = Metric("squared_error", "squared error per step", ("real",), identity)
