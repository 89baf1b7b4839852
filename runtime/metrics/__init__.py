"""Quality metrics of a network, one module each, found by name."""

from __future__ import annotations

import importlib

from .metric import Metric


def find_metric(name: str) -> Metric:
    """Return the `METRIC` of the module called `name`."""
    metric = importlib.import_module(f"{__name__}.{name}").METRIC
    assert isinstance(metric, Metric), f"runtime/metrics/{name}.py defines no METRIC"
    return metric
