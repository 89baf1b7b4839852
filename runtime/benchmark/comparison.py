"""Compare candidates on a workload: check each one, then time all in interleaved rounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from rnnc.runtime.benchmark.measurement.device_timing import synchronize_after
from rnnc.runtime.benchmark.measurement.interleaved import Samples, run_interleaved
from rnnc.runtime.benchmark.measurement.machine_load import LoadMonitor, Machine, describe_machine
from rnnc.runtime.benchmark.measurement.statistics import Summary, summarize, summarize_ratios
from rnnc.runtime.benchmark.workload.candidate import Candidate, CandidateFactory, Unavailable
from rnnc.runtime.benchmark.workload.candidate_names import FLOOR_NAMES
from rnnc.runtime.benchmark.workload.workload import Workload

from .correctness import compute_reference, describe_mismatch

Pass = Literal["forward", "step"]
PASSES: Final[tuple[Pass, ...]] = ("forward", "step")

WIDE_SPREAD: Final = 0.2
"""Relative spread above which a measurement is doubtful."""

BUSY_PROCESSORS: Final = 0.25
"""Processors used by other programs above which a measurement is doubtful."""


@dataclass(frozen=True)
class Comparison:
    """Measurements of several candidates on one workload.

    candidates: the measured ones by name. unavailable: the others, with reasons.
    preparation_seconds: until each had done its first training step, compilers included.
    samples: by pass and candidate. base: the candidate that ratios refer to.
    other_load: processors used by other programs meanwhile; None if unknown.
    """

    workload: Workload
    machine: Machine
    candidates: Mapping[str, Candidate]
    unavailable: Mapping[str, str]
    preparation_seconds: Mapping[str, float]
    samples: Mapping[Pass, Mapping[str, Samples]]
    base: str
    other_load: float | None

    def seconds(self, pass_name: Pass, name: str) -> Summary:
        """Summarize elapsed times."""
        return summarize(self.samples[pass_name][name].wall)

    def cpu_seconds(self, pass_name: Pass, name: str) -> Summary:
        """Summarize times of all processors together."""
        return summarize(self.samples[pass_name][name].cpu)

    def ratio_to_base(self, pass_name: Pass, name: str) -> Summary:
        """Summarize elapsed times over the base's, round by round."""
        samples = self.samples[pass_name]
        return summarize_ratios(samples[name].wall, samples[self.base].wall)

    def cpu_ratio_to_base(self, pass_name: Pass, name: str) -> Summary:
        """Summarize processor times over the base's, round by round."""
        samples = self.samples[pass_name]
        return summarize_ratios(samples[name].cpu, samples[self.base].cpu)

    @property
    def faster_candidates(self) -> list[tuple[Pass, str, Summary]]:
        """Candidates faster than the base, the fastest first, without floors."""
        ratios = [
            (pass_name, name, self.ratio_to_base(pass_name, name))
            for pass_name in PASSES
            for name in self.candidates
            if name != self.base and name not in FLOOR_NAMES
        ]
        faster = [item for item in ratios if item[2].median < 1]
        return sorted(faster, key=lambda item: item[2].median)

    @property
    def doubts(self) -> list[str]:
        """Reasons to doubt the measurements, one line each; empty on a quiet machine."""
        reasons = []
        if self.other_load is not None and self.other_load > BUSY_PROCESSORS:
            reasons.append(
                f"this machine is busy: other programs used {self.other_load:.1f} of "
                f"{self.machine.processors} processors meanwhile; what takes longer was stopped "
                "more often: compare processor time"
            )
        spreads = {
            f"{name} {pass_name}": self.seconds(pass_name, name).spread
            for pass_name in PASSES
            for name in self.candidates
        }
        worst = max(spreads, key=lambda name: spreads[name], default="")
        if worst and spreads[worst] > WIDE_SPREAD:
            count = sum(spread > WIDE_SPREAD for spread in spreads.values())
            reasons.append(
                f"the spread is large: {count} of {len(spreads)} rows have quartiles further apart "
                f"than {WIDE_SPREAD:.0%} of the median (the worst, {worst}: {spreads[worst]:.0%})"
            )
        return reasons


def compare(
    workload: Workload,
    factories: Mapping[str, CandidateFactory],
    *,
    rounds: int,
    budget: float | None = None,
    base: str | None = None,
    report_progress: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Make, check and time candidates; leave out unavailable and incorrect ones.

    Args:
        workload: the model and its arguments.
        factories: of the candidates, by name.
        rounds: most rounds.
        budget: seconds for all rounds of a pass, as in `run_interleaved`.
        base: the candidate that ratios refer to; by default the first one available.
        report_progress: called with a line before each slow part.

    Raises:
        Unavailable: if no candidate, or not the base, is available.
    """
    reference = compute_reference(workload)
    candidates: dict[str, Candidate] = {}
    unavailable: dict[str, str] = {}
    prepared: dict[str, float] = {}
    with LoadMonitor() as monitor:
        for name, make in factories.items():
            report_progress(name)
            begin = time.perf_counter()
            try:
                candidate = make(workload)
                mismatch = describe_mismatch(candidate, reference)
            except Unavailable as error:
                unavailable[name] = str(error)
                continue
            if mismatch:
                unavailable[name] = f"it does not compute the same: {mismatch}"
            else:
                candidates[name] = candidate
                prepared[name] = time.perf_counter() - begin
        base_name = base or next((name for name in candidates if name not in FLOOR_NAMES), "")
        if base_name not in candidates:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in unavailable.items())
            raise Unavailable(reasons or "there is nothing to time")
        samples: dict[Pass, Mapping[str, Samples]] = {}
        for pass_name in PASSES:
            report_progress(f"{pass_name}, {rounds} rounds")
            functions = {
                name: synchronize_after(getattr(candidate, pass_name), workload.device.type)
                for name, candidate in candidates.items()
            }
            samples[pass_name] = run_interleaved(functions, rounds, budget=budget)
    return Comparison(
        workload=workload,
        machine=describe_machine(),
        candidates=candidates,
        unavailable=unavailable,
        preparation_seconds=prepared,
        samples=samples,
        base=base_name,
        other_load=monitor.other_load,
    )
