"""Evaluate a spec for one row of a call, with a directional derivative."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from rnnc.grammar import syntax
from support.second_oracle.constants import number, offset
from support.second_oracle.models import RowSeries, Step, Variable, walk_syntax
from support.second_oracle.reading import Model, Static, read_model
from support.second_oracle.segments import RowArguments, RowResult, Tangents
from support.second_oracle.values import (
    Array,
    Symbol,
    Unsupported,
    Vector,
    as_full_vector,
    constant,
    subtract,
)

Values = list[Array] | list[int]


def evaluate(
    text: str,
    sizes: Mapping[str, Static],
    parameters: Mapping[str, Array],
    row: RowArguments,
    *,
    tangents: Tangents | None = None,
    targets: Mapping[str, Values] | None = None,
    model: str | None = None,
) -> RowResult:
    """Evaluate a spec for one row, in evaluation mode.

    Args:
        text: the spec.
        sizes: values of the model's parameters.
        parameters: by their names in a state_dict.
        row: inputs, resets and state.
        tangents: a direction; `RowResult.tangents` then holds the derivatives along it.
        targets: by the name of a predicted input, T values: what `x'` is in `loss` lines.
        model: which model, where the text has several.

    Raises:
        Unsupported: for what this oracle gives no meaning to.
    """
    with _deep_recursion():
        read = read_model(text, sizes, model)
        series = RowSeries(read, parameters, row, tangents or Tangents())
        evaluation = _RowEvaluation(series, read, targets or {})
        answer = evaluation.to_result(0)
        return answer if tangents is None else replace(answer, tangents=evaluation.to_result(1))


@contextmanager
def _deep_recursion() -> Iterator[None]:
    # Values are computed on demand, so recursion may go through all steps of a row.
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 200_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


class _RowEvaluation:
    def __init__(self, series: RowSeries, model: Model, targets: Mapping[str, Values]) -> None:
        self._series, self._model, self._targets = series, model, targets
        self._steps = range(series.row.steps)
        # Evaluate in order, so that recursion stays shallow.
        for t in self._steps:
            for variable in series.variables.values():
                if variable.role == "state":
                    series.set_value(variable.name, t)
        self._outputs = {name: self._output(v) for v, name in self._given()}
        self._state = {} if series.looks_ahead else self._carried()
        self._laws = [self._law(s) for s in model.statements if isinstance(s, syntax.Law)]
        self._losses = [self._loss(s) for s in model.statements if isinstance(s, syntax.Loss)]

    def _given(self) -> Iterator[tuple[Variable, str]]:
        for variable in self._series.variables.values():
            if variable.role == "output":
                yield variable, variable.name
            elif variable.role == "input" and variable.name in self._series.predicted:
                yield variable, f"{variable.name}'"

    def _output(self, variable: Variable) -> list[Vector] | Vector:
        if not variable.at_end:
            return [self._series.set_value(variable.name, t) for t in self._steps]
        if not self._steps:
            return constant(np.zeros(variable.size))
        return self._series.set_value(variable.name, self._steps[-1])

    def _carried(self) -> dict[str, list[Vector | Symbol]]:
        series, row = self._series, self._series.row
        carried: dict[str, list[Vector | Symbol]] = {}
        for name, depth in series.depths.items():
            variable = series.variables[name]
            if row.state is not None:
                depth = len(row.state.get(name, ()))
            if depth and variable.role != "output":
                carried[name] = [self._left(variable, k) for k in range(depth, 0, -1)]
        return carried

    def _left(self, variable: Variable, back: int) -> Vector | Symbol:
        """Return the value `back` steps before the step after the call."""
        if not self._steps:
            return self._series.before_call(variable, -back)
        return self._series.read(variable.name, self._steps[-1], 1 - back)

    def _law(self, law: syntax.Law) -> list[Vector]:
        values: list[Vector] = []
        for t in self._steps:
            step = Step(self._series, t, in_law=True)
            left, right = (as_full_vector(step.value(side)) for side in (law.left, law.right))
            if left.width != right.width:
                raise Unsupported(f"`{law.span.text}` of {left.width} and {right.width} entries")
            gap = subtract(left, right)
            square = np.array([np.mean(gap.value**2)])
            values.append(Vector(square, np.array([np.mean(2 * gap.value * gap.slope)])))
        return values

    def _loss(self, loss: syntax.Loss) -> list[Vector] | None:
        if any(name not in self._targets for name in _targets_in(loss.value, self._series)):
            return None
        values: list[Vector] = []
        for t in self._steps:
            goals = {name: self._target(name, value[t]) for name, value in self._targets.items()}
            value = as_full_vector(Step(self._series, t, targets=goals).value(loss.value))
            if value.width != 1:
                raise Unsupported(f"a loss of {value.width} entries")
            values.append(value)
        return values

    def _target(self, name: str, value: Array | int) -> Vector | Symbol:
        variable = self._series.variables[name]
        if variable.kind == "symbol":
            return Symbol(int(value), variable.size)
        return constant(np.asarray(value))

    def to_result(self, which: int) -> RowResult:
        """Convert values (0) or slopes (1) to a result."""

        def chosen(value: Vector | Symbol) -> Any:
            if isinstance(value, Symbol):
                return value.symbol
            return (value.value, value.slope)[which]

        def line(values: Iterable[Vector | Symbol]) -> Any:
            return [chosen(value) for value in values]

        def numbers(values: Iterable[Vector]) -> list[float]:
            return [float(chosen(value)[0]) for value in values]

        return RowResult(
            {k: line(v) if isinstance(v, list) else chosen(v) for k, v in self._outputs.items()},
            {name: line(values) for name, values in self._state.items()},
            self._series.segments.age(),
            [numbers(law) for law in self._laws],
            [None if loss is None else numbers(loss) for loss in self._losses],
            [_weight(s) for s in self._model.statements if isinstance(s, syntax.Law)],
            [_weight(s) for s in self._model.statements if isinstance(s, syntax.Loss)],
        )


def _weight(statement: syntax.Law | syntax.Loss) -> float:
    return 1.0 if statement.weight is None else float(number(statement.weight, {}))


def _targets_in(expression: syntax.Expression, series: RowSeries) -> set[str]:
    """Return the predicted inputs whose next value an expression reads."""
    names: set[str] = set()
    for node in walk_syntax(expression):
        match node:
            case syntax.Primed(syntax.Name(name)):
                names.add(name)
            case syntax.Timed(syntax.Name(name), time) if offset(time) > 0:
                names.add(name)
            case _:
                pass
    return {n for n in names if n in series.variables and series.variables[n].role == "input"}
