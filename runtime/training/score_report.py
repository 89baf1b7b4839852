"""Report a trained network's metrics on all splits, with baseline and published results."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rnnc.grammar.diagnostics.errors import fail
from rnnc.runtime.metrics import find_metric
from rnnc.runtime.tasks.describe import published_to_json
from rnnc.runtime.tasks.task import SPLITS, Task
from rnnc.runtime.training.run_state.checkpoint import Header

from .evaluation import evaluate
from .session import load_trained

MetricTable = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """Metrics and baseline, each by split and name."""

    run: Path
    model: str
    header: Header
    task: Task
    metrics: MetricTable
    baseline: MetricTable

    def to_json(self) -> dict[str, object]:
        """Convert to the JSON document of `rnnc eval --json`."""
        return {
            "run": str(self.run),
            "spec": self.header.program.name,
            "model": self.model,
            "task": self.task.name,
            "task_options": self.header.task.options,
            "epoch": self.header.progress.best_epoch,
            "metrics": self.metrics,
            "baseline": {"description": self.task.baseline, "metrics": self.baseline},
            "published": [published_to_json(figure) for figure in self.task.published],
        }

    def format_lines(self) -> Iterator[str]:
        """Format as lines of text."""
        epoch = self.header.progress.best_epoch
        yield f"{self.model} on {self.task.name}, weights of epoch {epoch}"
        yield " " * 16 + "".join(f"{split:>10}" for split in SPLITS)
        for name in self.task.metrics:
            yield _format_row(name, self.metrics, name) + f"   {find_metric(name).unit}"
        yield (
            _format_row("baseline", self.baseline, self.task.metrics[0])
            + f"   {self.task.baseline}"
        )
        for figure in self.task.published:
            yield f"published{figure.value:37.4g}   {figure.model}: {figure.source}"


def score_run(run: Path, data: Path | None = None) -> ScoreReport:
    """Evaluate a run's best weights on the three splits.

    Raises:
        RnnError: for an unusable run, checkpoint or data set, and RNN640 if a metric is not finite.
    """
    model, task, problem, header = load_trained(run, data)
    metrics: MetricTable = {
        split: evaluate(model, problem, problem.load_split(split), task.metrics) for split in SPLITS
    }
    for split, values in metrics.items():
        for name, value in values.items():
            if not math.isfinite(value):
                fail("RNN640", f"the {name} of the {split} split is {value}: the weights are bad")
    baseline: MetricTable = {split: {task.metrics[0]: problem.baseline(split)} for split in SPLITS}
    return ScoreReport(run, model.graph.name, header, task, metrics, baseline)


def _format_row(title: str, table: MetricTable, name: str) -> str:
    return f"{title:<16}" + "".join(f"{table[split][name]:10.4g}" for split in SPLITS)
