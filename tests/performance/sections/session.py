"""Measure table rows, and collect remarks on the machine and missing candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import rnnc
from rnnc.runtime.benchmark.baselines.registry import CANDIDATES
from rnnc.runtime.benchmark.comparison import BUSY_PROCESSORS, Comparison, Pass, compare
from rnnc.runtime.benchmark.correctness import compute_reference, describe_mismatch
from rnnc.runtime.benchmark.measurement.machine_load import describe_machine
from rnnc.runtime.benchmark.measurement.statistics import Summary
from rnnc.runtime.benchmark.workload.candidate import Candidate, CandidateFactory
from rnnc.runtime.benchmark.workload.workload import Workload, make_workload

TITLES: Mapping[Pass, str] = {"forward": "forward", "step": "training step"}


@dataclass
class Session:
    """One run of the command: the budget of each row, and remarks collected so far.

    rounds, seconds: limits of each pass of a row. quick: measure only the first row of each table.
    """

    rounds: int = 11
    seconds: float = 1.5
    quick: bool = False
    other_load: list[float] = field(default_factory=list)
    slower_rows: list[str] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    report_progress: Callable[[str], None] = lambda line: None

    def select_rows(self, rows: Sequence[Any]) -> Sequence[Any]:
        """Return all rows, or in a quick run the first one."""
        return rows[:1] if self.quick else rows

    def compare(
        self,
        spec: str,
        steps: int,
        rows: int,
        names: Sequence[str | tuple[str, CandidateFactory]],
        **sizes: Any,
    ) -> Comparison:
        """Time candidates (names, or names with factories) of a spec at some size.

        The first one is the base: if it is unavailable, the row has no figures.
        """
        factories = dict((n, CANDIDATES[n]) if isinstance(n, str) else n for n in names)
        comparison = compare(
            compile_workload(spec, steps, rows, **sizes),
            factories,
            rounds=self.rounds,
            budget=self.seconds,
        )
        if comparison.other_load is not None:
            self.other_load.append(comparison.other_load)
        self.unavailable.update(comparison.unavailable)
        base = next(iter(factories))
        if comparison.base != base:
            comparison = replace(comparison, candidates={})
        label = f"{comparison.workload.graph.name} {sizes or ''} B={rows} T={steps}"
        self.report_progress(f"{label}: {format_median(comparison, 'step', base)} ms")
        return comparison

    def make_candidate(self, name: str, workload: Workload) -> Candidate:
        """Make one candidate and check it against the reference.

        Raises:
            ValueError: if it computes something else.
        """
        candidate = CANDIDATES[name](workload)
        mismatch = describe_mismatch(candidate, compute_reference(workload))
        if mismatch:
            raise ValueError(f"{name}: {mismatch}")
        return candidate

    def record_slower_rows(self, row: str, comparison: Comparison) -> None:
        """Record the candidates that beat a row's base."""
        self.slower_rows += [
            f"{row}: {TITLES[pass_name]}, to {name} ({ratio.median:.2f})"
            for pass_name, name, ratio in comparison.faster_candidates
        ]

    def take_remarks(self) -> list[str]:
        """Return the remarks for a section and clear them."""
        lines = []
        losses, self.slower_rows = self.slower_rows, []
        lines.append(f"Rows that lose: {'; '.join(losses)}." if losses else "No row loses.")
        absent, self.unavailable = self.unavailable, {}
        lines += [f"Not measured: {name}, {why}." for name, why in absent.items()]
        others, self.other_load = self.other_load, []
        if others and max(others) > BUSY_PROCESSORS:
            lines.append(
                f"**The machine was busy**: other programs used up to {max(others):.1f} of "
                f"{describe_machine().processors} processors, and what takes longer was "
                "interrupted more often."
            )
        return lines


def compile_workload(spec: str, steps: int, rows: int, **sizes: Any) -> Workload:
    """Make a workload of a spec's text or name."""
    return make_workload(rnnc.compile(spec, backend="reference", **sizes).program, steps, rows)


def format_milliseconds(summary: Summary) -> str:
    """Format a median in milliseconds."""
    return f"{summary.median * 1e3:.3g}"


def format_ratio(comparison: Comparison, pass_name: Pass, name: str) -> str:
    """Format the ratio to the base with its quartiles; a dash if there is none."""
    if name not in comparison.candidates:
        return "–"
    ratio = comparison.ratio_to_base(pass_name, name)
    return f"{ratio.median:.2f} ({ratio.low:.2f}–{ratio.high:.2f})"


def format_median(comparison: Comparison, pass_name: Pass, name: str) -> str:
    """Format a candidate's median; a dash if there is none."""
    return (
        format_milliseconds(comparison.seconds(pass_name, name))
        if name in comparison.candidates
        else "–"
    )
