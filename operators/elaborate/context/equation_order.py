"""Sort equations so that every local is set before its readers (depth-first search).

Input: equations in the order of the text; output: a topological order, close to that of the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rnnc.grammar import syntax
from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.syntax import flatten_targets, names_in


def sort_equations(
    equations: Sequence[syntax.Equation], locals_: Iterable[str], report: Report
) -> list[syntax.Equation]:
    """Return the equations, each after those that set the locals it reads.

    Reports each cycle of locals once (RNN401).
    """
    names = set(locals_)
    setter: dict[str, int] = {}
    for index, equation in enumerate(equations):
        for target in flatten_targets(equation.target):
            if isinstance(target, syntax.Name) and target.name in names:
                setter.setdefault(target.name, index)
    operands_of = [
        [setter[name] for name in dict.fromkeys(names_in(equation.value)) if name in setter]
        for equation in equations
    ]
    is_finished: dict[int, bool] = {}
    ordered: list[syntax.Equation] = []
    reported: set[int] = set()
    for start in range(len(equations)):
        if start in is_finished:
            continue
        stack: list[tuple[int, Iterator[int]]] = [(start, iter(operands_of[start]))]
        is_finished[start] = False
        while stack:
            index, operands = stack[-1]
            operand = next(operands, None)
            if operand is None:
                stack.pop()
                is_finished[index] = True
                ordered.append(equations[index])
            elif operand not in is_finished:
                is_finished[operand] = False
                stack.append((operand, iter(operands_of[operand])))
            elif not is_finished[operand]:
                path = [i for i, _ in stack]
                cycle = path[path.index(operand) :]
                if not reported.intersection(cycle):
                    _report_cycle(equations, cycle, report)
                reported.update(cycle)
    return ordered


def _report_cycle(equations: Sequence[syntax.Equation], cycle: list[int], report: Report) -> None:
    names = [f"`{equations[index].target.span.text}`" for index in cycle]
    first, *further = cycle
    report.error(
        "RNN401",
        "a cycle without a delay: " + " → ".join([*reversed(names), names[-1]]),
        equations[first].span,
        "needs its own value of the same step",
        related=tuple(Label(equations[index].span, "through this") for index in further),
        hint="a value from the step before is a state: `state z: …`, then `z' = …`",
    )
