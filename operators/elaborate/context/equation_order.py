"""Equations in any order -> an order in which every local comes before its readers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rnnc.grammar import syntax
from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.syntax import flatten_targets, names_in


def sort_equations(
    equations: Sequence[syntax.Equation], locals_: Iterable[str], report: Report
) -> list[syntax.Equation]:
    """The equations, each after those that set the locals it reads.

    A cycle of locals is reported (RNN401), once.
    """
    known = set(locals_)
    setter: dict[str, int] = {}
    for index, equation in enumerate(equations):
        for target in flatten_targets(equation.target):
            if isinstance(target, syntax.Name) and target.name in known:
                setter.setdefault(target.name, index)
    needs = [
        [setter[name] for name in dict.fromkeys(names_in(equation.value)) if name in setter]
        for equation in equations
    ]
    done: dict[int, bool] = {}
    result: list[syntax.Equation] = []
    reported: set[int] = set()
    for start in range(len(equations)):
        if start in done:
            continue
        stack: list[tuple[int, Iterator[int]]] = [(start, iter(needs[start]))]
        done[start] = False
        while stack:
            index, waiting = stack[-1]
            following = next(waiting, None)
            if following is None:
                stack.pop()
                done[index] = True
                result.append(equations[index])
            elif following not in done:
                done[following] = False
                stack.append((following, iter(needs[following])))
            elif not done[following]:
                path = [i for i, _ in stack]
                cycle = path[path.index(following) :]
                if not reported.intersection(cycle):
                    _report_cycle(equations, cycle, report)
                reported.update(cycle)
    return result


def _report_cycle(equations: Sequence[syntax.Equation], cycle: list[int], report: Report) -> None:
    names = [f"`{equations[index].target.span.text}`" for index in cycle]
    first, *others = cycle
    report.error(
        "RNN401",
        "a cycle without a delay: " + " → ".join([*reversed(names), names[-1]]),
        equations[first].span,
        "needs its own value of the same step",
        related=tuple(Label(equations[index].span, "through this") for index in others),
        hint="a value from the step before is a state: `state z: …`, then `z' = …`",
    )
