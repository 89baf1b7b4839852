"""How a row of a table is measured, and what is remembered of the machine meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import rnnc
from rnnc.runtime.benchmark.baselines.registry import CONTENDERS
from rnnc.runtime.benchmark.comparison import BUSY, Comparison, Pass, compare
from rnnc.runtime.benchmark.correctness import disagreement, right_answer
from rnnc.runtime.benchmark.measurement.machine_load import this_machine
from rnnc.runtime.benchmark.measurement.statistics import Summary
from rnnc.runtime.benchmark.workload.candidate import Contender, Maker
from rnnc.runtime.benchmark.workload.workload import Case, case

TITLES: Mapping[Pass, str] = {"forward": "forward", "step": "training step"}


@dataclass
class Session:
    """One run of the command: how long each row may take, and what was seen.

    rounds, seconds: of each pass of a row, at most. quick: whether only some rows are measured.
    """

    rounds: int = 11
    seconds: float = 1.5
    quick: bool = False
    others: list[float] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    tell: Callable[[str], None] = lambda line: None

    def some(self, rows: Sequence[Any]) -> Sequence[Any]:
        """All rows, or in a quick run the first one."""
        return rows[:1] if self.quick else rows

    def compare(
        self,
        spec: str,
        steps: int,
        rows: int,
        names: Sequence[str | tuple[str, Maker]],
        **sizes: Any,
    ) -> Comparison:
        """Time contenders (names, or names with their makers) of a spec at some size.

        The first one is the base: where it cannot take part, the row has no figures.
        """
        makers = dict((n, CONTENDERS[n]) if isinstance(n, str) else n for n in names)
        found = compare(
            made(spec, steps, rows, **sizes), makers, repeat=self.rounds, budget=self.seconds
        )
        if found.others is not None:
            self.others.append(found.others)
        self.unavailable.update(found.unavailable)
        base = next(iter(makers))
        if found.base != base:
            found = replace(found, contenders={})
        label = f"{found.case.graph.name} {sizes or ''} B={rows} T={steps}"
        self.tell(f"{label}: {milliseconds(found, 'step', base)} ms")
        return found

    def contender(self, name: str, its: Case) -> Contender:
        """One contender, held against the reference.

        Raises:
            ValueError: when it computes something else.
        """
        found = CONTENDERS[name](its)
        wrong = disagreement(found, right_answer(its))
        if wrong:
            raise ValueError(f"{name}: {wrong}")
        return found

    def lose(self, row: str, found: Comparison) -> None:
        """Remember where a row's base loses."""
        self.losses += [
            f"{row}: {TITLES[what]}, to {name} ({ratio.median:.2f})"
            for what, name, ratio in found.losses
        ]

    def remarks(self) -> list[str]:
        """What stands below a section, and forgets it: losing rows, absent rivals, other work."""
        lines = []
        losses, self.losses = self.losses, []
        lines.append(f"Rows that lose: {'; '.join(losses)}." if losses else "No row loses.")
        absent, self.unavailable = self.unavailable, {}
        lines += [f"Not measured: {name}, {why}." for name, why in absent.items()]
        others, self.others = self.others, []
        if others and max(others) > BUSY:
            lines.append(
                f"**The machine was busy**: other programs used up to {max(others):.1f} of "
                f"{this_machine().processors} processors, and what takes longer was interrupted "
                "more often."
            )
        return lines


def made(spec: str, steps: int, rows: int, **sizes: Any) -> Case:
    """A case of a spec's text or name."""
    return case(rnnc.compile(spec, backend="reference", **sizes).program, steps, rows)


def ms(found: Summary) -> str:
    """Milliseconds."""
    return f"{found.median * 1e3:.3g}"


def over(found: Comparison, what: Pass, name: str) -> str:
    """How many times as long as the base, with its quartiles; empty for who is absent."""
    if name not in found.contenders:
        return "–"
    ratio = found.over_base(what, name)
    return f"{ratio.median:.2f} ({ratio.low:.2f}–{ratio.high:.2f})"


def milliseconds(found: Comparison, what: Pass, name: str) -> str:
    """A contender's median; a dash for who is absent."""
    return ms(found.seconds(what, name)) if name in found.contenders else "–"
