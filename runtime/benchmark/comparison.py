"""A model and its alternatives: each one checked first, then all timed in turns."""

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
"""A spread from which a figure is doubtful."""

BUSY_PROCESSORS: Final = 0.25
"""Processors kept busy by others from which a figure is doubtful."""


@dataclass(frozen=True)
class Comparison:
    """What was measured.

    candidates: those that took part, by name. unavailable: the others, and why not.
    preparation_seconds: seconds until each one had done its first training step, compilers included.
    samples: of each pass and contender. base: what the others are compared with.
    other_load: how many processors other programs kept busy meanwhile; None where it is not known.
    """

    case: Workload
    machine: Machine
    candidates: Mapping[str, Candidate]
    unavailable: Mapping[str, str]
    preparation_seconds: Mapping[str, float]
    samples: Mapping[Pass, Mapping[str, Samples]]
    base: str
    other_load: float | None

    def seconds(self, pass_name: Pass, name: str) -> Summary:
        """Elapsed time."""
        return summarize(self.samples[pass_name][name].wall)

    def cpu_seconds(self, pass_name: Pass, name: str) -> Summary:
        """Time of all processors together."""
        return summarize(self.samples[pass_name][name].cpu)

    def ratio_to_base(self, pass_name: Pass, name: str) -> Summary:
        """How many times as long as the base, by rounds."""
        samples = self.samples[pass_name]
        return summarize_ratios(samples[name].wall, samples[self.base].wall)

    def cpu_ratio_to_base(self, pass_name: Pass, name: str) -> Summary:
        """How many times as much processor time as the base, by rounds."""
        samples = self.samples[pass_name]
        return summarize_ratios(samples[name].cpu, samples[self.base].cpu)

    @property
    def faster_candidates(self) -> list[tuple[Pass, str, Summary]]:
        """What is faster than the base, the worst first; floors do not count."""
        found = [
            (what, name, self.ratio_to_base(what, name))
            for what in PASSES
            for name in self.candidates
            if name != self.base and name not in FLOOR_NAMES
        ]
        lost = [item for item in found if item[2].median < 1]
        return sorted(lost, key=lambda item: item[2].median)

    @property
    def doubts(self) -> list[str]:
        """What makes the figures doubtful, a line each; empty on a quiet machine."""
        found = []
        if self.other_load is not None and self.other_load > BUSY_PROCESSORS:
            found.append(
                f"this machine is busy: other programs used {self.other_load:.1f} of "
                f"{self.machine.processors} processors meanwhile; what takes longer was stopped "
                "more often: compare processor time"
            )
        wide = {
            f"{name} {what}": self.seconds(what, name).spread
            for what in PASSES
            for name in self.candidates
        }
        worst = max(wide, key=lambda name: wide[name], default="")
        if worst and wide[worst] > WIDE_SPREAD:
            count = sum(spread > WIDE_SPREAD for spread in wide.values())
            found.append(
                f"the spread is large: {count} of {len(wide)} rows have quartiles further apart "
                f"than {WIDE_SPREAD:.0%} of the median (the worst, {worst}: {wide[worst]:.0%})"
            )
        return found


def compare(
    case: Workload,
    factories: Mapping[str, CandidateFactory],
    *,
    repeat: int,
    budget: float | None = None,
    base: str | None = None,
    report_progress: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Make, check and time contenders; what cannot take part, or computes otherwise, is left out.

    Args:
        case: the model and its arguments.
        factories: the contenders, by name.
        repeat: rounds, at most.
        budget: seconds for all rounds of a pass, as `run_interleaved` takes them.
        base: whom the others are compared with; by default the first that takes part.
        report_progress: is given a line before what takes long.

    Raises:
        Unavailable: when nothing takes part, or the base does not.
    """
    right = compute_reference(case)
    contenders: dict[str, Candidate] = {}
    unavailable: dict[str, str] = {}
    prepared: dict[str, float] = {}
    with LoadMonitor() as watch:
        for name, make in factories.items():
            report_progress(name)
            begin = time.perf_counter()
            try:
                contender = make(case)
                wrong = describe_mismatch(contender, right)
            except Unavailable as error:
                unavailable[name] = str(error)
                continue
            if wrong:
                unavailable[name] = f"it does not compute the same: {wrong}"
            else:
                contenders[name] = contender
                prepared[name] = time.perf_counter() - begin
        chosen = base or next((name for name in contenders if name not in FLOOR_NAMES), "")
        if chosen not in contenders:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in unavailable.items())
            raise Unavailable(reasons or "there is nothing to time")
        samples: dict[Pass, Mapping[str, Samples]] = {}
        for what in PASSES:
            report_progress(f"{what}, {repeat} rounds")
            ways = {
                name: synchronize_after(getattr(contender, what), case.device.type)
                for name, contender in contenders.items()
            }
            samples[what] = run_interleaved(ways, repeat, budget=budget)
    return Comparison(
        case=case,
        machine=describe_machine(),
        candidates=contenders,
        unavailable=unavailable,
        preparation_seconds=prepared,
        samples=samples,
        base=chosen,
        other_load=watch.other_load,
    )
