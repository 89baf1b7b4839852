"""How a row of a table is measured, and what is remembered of the machine meanwhile."""

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
    """One run of the command: how long each row may take, and what was seen.

    rounds, seconds: of each pass of a row, at most. quick: whether only some rows are measured.
    """

    rounds: int = 11
    seconds: float = 1.5
    quick: bool = False
    other_load: list[float] = field(default_factory=list)
    slower_rows: list[str] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    report_progress: Callable[[str], None] = lambda line: None

    def select_rows(self, rows: Sequence[Any]) -> Sequence[Any]:
        """All rows, or in a quick run the first one."""
        return rows[:1] if self.quick else rows

    def compare(
        self,
        spec: str,
        steps: int,
        rows: int,
        names: Sequence[str | tuple[str, CandidateFactory]],
        **sizes: Any,
    ) -> Comparison:
        """Time contenders (names, or names with their makers) of a spec at some size.

        The first one is the base: where it cannot take part, the row has no figures.
        """
        makers = dict((n, CANDIDATES[n]) if isinstance(n, str) else n for n in names)
        found = compare(
            compile_workload(spec, steps, rows, **sizes),
            makers,
            repeat=self.rounds,
            budget=self.seconds,
        )
        if found.other_load is not None:
            self.other_load.append(found.other_load)
        self.unavailable.update(found.unavailable)
        base = next(iter(makers))
        if found.base != base:
            found = replace(found, candidates={})
        label = f"{found.case.graph.name} {sizes or ''} B={rows} T={steps}"
        self.report_progress(f"{label}: {format_median(found, 'step', base)} ms")
        return found

    def make_candidate(self, name: str, workload: Workload) -> Candidate:
        """One contender, held against the reference.

        Raises:
            ValueError: when it computes something else.
        """
        found = CANDIDATES[name](workload)
        wrong = describe_mismatch(found, compute_reference(workload))
        if wrong:
            raise ValueError(f"{name}: {wrong}")
        return found

    def record_slower_rows(self, row: str, comparison: Comparison) -> None:
        """Remember where a row's base loses."""
        self.slower_rows += [
            f"{row}: {TITLES[what]}, to {name} ({ratio.median:.2f})"
            for what, name, ratio in comparison.faster_candidates
        ]

    def take_remarks(self) -> list[str]:
        """What stands below a section, and forgets it: losing rows, absent rivals, other work."""
        lines = []
        losses, self.slower_rows = self.slower_rows, []
        lines.append(f"Rows that lose: {'; '.join(losses)}." if losses else "No row loses.")
        absent, self.unavailable = self.unavailable, {}
        lines += [f"Not measured: {name}, {why}." for name, why in absent.items()]
        others, self.other_load = self.other_load, []
        if others and max(others) > BUSY_PROCESSORS:
            lines.append(
                f"**The machine was busy**: other programs used up to {max(others):.1f} of "
                f"{describe_machine().processors} processors, and what takes longer was interrupted "
                "more often."
            )
        return lines


def compile_workload(spec: str, steps: int, rows: int, **sizes: Any) -> Workload:
    """A case of a spec's text or name."""
    return make_workload(rnnc.compile(spec, backend="reference", **sizes).program, steps, rows)


def format_milliseconds(summary: Summary) -> str:
    """Milliseconds."""
    return f"{summary.median * 1e3:.3g}"


def format_ratio(comparison: Comparison, pass_name: Pass, name: str) -> str:
    """How many times as long as the base, with its quartiles; empty for who is absent."""
    if name not in comparison.candidates:
        return "–"
    ratio = comparison.ratio_to_base(pass_name, name)
    return f"{ratio.median:.2f} ({ratio.low:.2f}–{ratio.high:.2f})"


def format_median(comparison: Comparison, pass_name: Pass, name: str) -> str:
    """A contender's median; a dash for who is absent."""
    return (
        format_milliseconds(comparison.seconds(pass_name, name))
        if name in comparison.candidates
        else "–"
    )
