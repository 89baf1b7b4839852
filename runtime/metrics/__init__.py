"""How well a network does: one file a metric, found by its name."""

from __future__ import annotations

import importlib

from .metric import Metric


def find_metric(name: str) -> Metric:
    """The metric of a name, the `METRIC` of the module of that name."""
    metric = importlib.import_module(f"{__name__}.{name}").METRIC
    assert isinstance(metric, Metric), f"runtime/metrics/{name}.py defines no METRIC"
    return metric
