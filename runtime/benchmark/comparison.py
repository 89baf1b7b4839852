"""A model and its alternatives: each one checked first, then all timed in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from rnnc.runtime.benchmark.measurement.device_timing import finished
from rnnc.runtime.benchmark.measurement.interleaved import Samples, in_turns
from rnnc.runtime.benchmark.measurement.machine_load import Machine, Watch, this_machine
from rnnc.runtime.benchmark.measurement.statistics import Summary, ratio, summary
from rnnc.runtime.benchmark.workload.candidate import Contender, Maker, Unavailable
from rnnc.runtime.benchmark.workload.candidate_names import FLOORS
from rnnc.runtime.benchmark.workload.workload import Case

from .correctness import disagreement, right_answer

Pass = Literal["forward", "step"]
PASSES: Final[tuple[Pass, ...]] = ("forward", "step")

WIDE: Final = 0.2
"""A spread from which a figure is doubtful."""

BUSY: Final = 0.25
"""Processors kept busy by others from which a figure is doubtful."""


@dataclass(frozen=True)
class Comparison:
    """What was measured.

    contenders: those that took part, by name. unavailable: the others, and why not.
    prepared: seconds until each one had done its first training step, compilers included.
    samples: of each pass and contender. base: what the others are compared with.
    others: how many processors other programs kept busy meanwhile; None where it is not known.
    """

    case: Case
    machine: Machine
    contenders: Mapping[str, Contender]
    unavailable: Mapping[str, str]
    prepared: Mapping[str, float]
    samples: Mapping[Pass, Mapping[str, Samples]]
    base: str
    others: float | None

    def seconds(self, what: Pass, name: str) -> Summary:
        """Elapsed time."""
        return summary(self.samples[what][name].wall)

    def processor(self, what: Pass, name: str) -> Summary:
        """Time of all processors together."""
        return summary(self.samples[what][name].processor)

    def over_base(self, what: Pass, name: str) -> Summary:
        """How many times as long as the base, by rounds."""
        samples = self.samples[what]
        return ratio(samples[name].wall, samples[self.base].wall)

    def processor_over_base(self, what: Pass, name: str) -> Summary:
        """How many times as much processor time as the base, by rounds."""
        samples = self.samples[what]
        return ratio(samples[name].processor, samples[self.base].processor)

    @property
    def losses(self) -> list[tuple[Pass, str, Summary]]:
        """What is faster than the base, the worst first; floors do not count."""
        found = [
            (what, name, self.over_base(what, name))
            for what in PASSES
            for name in self.contenders
            if name != self.base and name not in FLOORS
        ]
        lost = [item for item in found if item[2].median < 1]
        return sorted(lost, key=lambda item: item[2].median)

    @property
    def doubts(self) -> list[str]:
        """What makes the figures doubtful, a line each; empty on a quiet machine."""
        found = []
        if self.others is not None and self.others > BUSY:
            found.append(
                f"this machine is busy: other programs used {self.others:.1f} of "
                f"{self.machine.processors} processors meanwhile; what takes longer was stopped "
                "more often: compare processor time"
            )
        wide = {
            f"{name} {what}": self.seconds(what, name).spread
            for what in PASSES
            for name in self.contenders
        }
        worst = max(wide, key=lambda name: wide[name], default="")
        if worst and wide[worst] > WIDE:
            count = sum(spread > WIDE for spread in wide.values())
            found.append(
                f"the spread is large: {count} of {len(wide)} rows have quartiles further apart "
                f"than {WIDE:.0%} of the median (the worst, {worst}: {wide[worst]:.0%})"
            )
        return found


def compare(
    case: Case,
    makers: Mapping[str, Maker],
    *,
    repeat: int,
    budget: float | None = None,
    base: str | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Make, check and time contenders; what cannot take part, or computes otherwise, is left out.

    Args:
        case: the model and its arguments.
        makers: the contenders, by name.
        repeat: rounds, at most.
        budget: seconds for all rounds of a pass, as `in_turns` takes them.
        base: whom the others are compared with; by default the first that takes part.
        tell: is given a line before what takes long.

    Raises:
        Unavailable: when nothing takes part, or the base does not.
    """
    right = right_answer(case)
    contenders: dict[str, Contender] = {}
    unavailable: dict[str, str] = {}
    prepared: dict[str, float] = {}
    with Watch() as watch:
        for name, make in makers.items():
            tell(name)
            begin = time.perf_counter()
            try:
                contender = make(case)
                wrong = disagreement(contender, right)
            except Unavailable as error:
                unavailable[name] = str(error)
                continue
            if wrong:
                unavailable[name] = f"it does not compute the same: {wrong}"
            else:
                contenders[name] = contender
                prepared[name] = time.perf_counter() - begin
        chosen = base or next((name for name in contenders if name not in FLOORS), "")
        if chosen not in contenders:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in unavailable.items())
            raise Unavailable(reasons or "there is nothing to time")
        samples: dict[Pass, Mapping[str, Samples]] = {}
        for what in PASSES:
            tell(f"{what}, {repeat} rounds")
            ways = {
                name: finished(getattr(contender, what), case.device.type)
                for name, contender in contenders.items()
            }
            samples[what] = in_turns(ways, repeat, budget=budget)
    return Comparison(
        case=case,
        machine=this_machine(),
        contenders=contenders,
        unavailable=unavailable,
        prepared=prepared,
        samples=samples,
        base=chosen,
        others=watch.others,
    )
