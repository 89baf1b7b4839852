"""Evaluate a model's equations at every step of one row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from rnnc.grammar import syntax
from support.second_oracle.annotations import Annotation, unbound_form, word_of
from support.second_oracle.bodies import apply_operator, check_size, parts_of
from support.second_oracle.constants import number, offset, size_of
from support.second_oracle.expressions import ExpressionEvaluator, fill
from support.second_oracle.reading import Model
from support.second_oracle.segments import RowArguments, Segments, Tangents
from support.second_oracle.values import (
    Absent,
    Array,
    Matrix,
    Symbol,
    Unsupported,
    Value,
    Vector,
    Window,
    constant,
    require_present,
    without_slope,
)


@dataclass(frozen=True, eq=False)
class Variable:
    """A declared variable."""

    role: str
    name: str
    kind: str
    size: int
    initial: syntax.Expression | None
    at_end: bool


class RowSeries:
    """All values of one row of a call, each computed once, on demand."""

    def __init__(
        self, model: Model, parameters: Mapping[str, Array], row: RowArguments, tangents: Tangents
    ) -> None:
        self.place, self.row, self.segments = model.place, row, Segments(row)
        self._parameters, self._tangents = parameters, tangents
        self.variables: dict[str, Variable] = {}
        self._setters: dict[str, syntax.Equation] = {}
        self.locals: dict[str, syntax.Equation] = {}
        self.predicted: set[str] = set()
        for statement in model.statements:
            if isinstance(statement, syntax.Declaration):
                self._declare(statement)
        for statement in model.statements:
            if isinstance(statement, syntax.Equation):
                self._register(statement)
        self._known: dict[tuple[int, int], dict[str, Value] | None] = {}
        self.depths, self.looks_ahead = self._reads(model)

    def _declare(self, statement: syntax.Declaration) -> None:
        type_ = statement.type
        for name in statement.names:
            self.variables[name.name] = Variable(
                statement.role,
                name.name,
                type_.kind,
                size_of(type_),
                statement.initial,
                statement.at_end,
            )

    def _register(self, equation: syntax.Equation) -> None:
        for target in targets_of(equation.target):
            name = target_name(target)
            role = self.variables[name].role if name in self.variables else "local"
            step = 0
            if isinstance(target, syntax.Timed):
                step = offset(target.time)
            elif isinstance(target, syntax.Primed):
                step = 1 if role == "input" else 0
            if step != (1 if role == "input" else 0):
                raise Unsupported(f"the left side `{target.span.text}`")
            if role == "input":
                self.predicted.add(name)
            if role == "local":
                self.locals[name] = equation
            else:
                self._setters[name] = equation

    def _reads(self, model: Model) -> tuple[dict[str, int], bool]:
        """Return the depth of each variable's reads, and True if a state is read ahead."""
        depths = {v.name: 1 if v.role == "state" else 0 for v in self.variables.values()}
        ahead = False
        for statement in model.statements:
            if isinstance(statement, syntax.Operator | syntax.Declaration | syntax.Parameter):
                continue
            for node in walk_syntax(statement):
                times: list[int] = []
                match node:
                    case syntax.Timed(syntax.Name(name), time):
                        times = [offset(time)]
                    case syntax.Windowed(syntax.Name(name), first, last):
                        times = [offset(first), offset(last)]
                    case _:
                        continue
                if name in depths:
                    depths[name] = max(depths[name], *(-k for k in times))
                    ahead |= self.variables[name].role == "state" and max(times) > 0
        return depths, ahead

    def parameter(self, name: str, annotation: Annotation | None, written: str) -> Vector | Matrix:
        """Return a parameter by its name in a state_dict."""
        if name not in self._parameters:
            raise Absent(f"the parameter `{name}`, which is not given")
        value = np.asarray(self._parameters[name], dtype=np.float64)
        slope = self._tangents.parameters.get(name)
        if slope is None or (annotation is not None and annotation.frozen):
            slope = np.zeros_like(value)
        form = (annotation.form if annotation else None) or (
            "matrix" if written[0].isupper() else "vector"
        )
        ranks = {"matrix": 2, "vector": 1, "diagonal": 1, "blocks": 3}
        if value.ndim != ranks[form] or slope.shape != value.shape:
            raise Unsupported(f"the parameter `{name}` of shape {value.shape}, a {form}")
        if form == "vector":
            return Vector(value, slope)
        return Matrix(value, slope, form)

    def equation(self, equation: syntax.Equation, t: int) -> dict[str, Value]:
        """Evaluate an equation at step t; return its values by name."""
        key = id(equation), t
        if key not in self._known:
            self._known[key] = None
            try:
                value = Step(self, t).value(equation.value)
                if equation.type is not None:
                    value = check_size(value, size_of(equation.type), equation.target.span.text)
                parts = parts_of(equation.target, value)
            except Absent as absent:
                parts = [(target, absent) for target in targets_of(equation.target)]
            self._known[key] = {target_name(target): part for target, part in parts}
        values = self._known[key]
        if values is None:
            raise Unsupported(f"a cycle through `{equation.target.span.text}`")
        return values

    def set_value(self, name: str, t: int) -> Vector:
        """Return the value of a state, output or prediction at step t."""
        if name not in self._setters:
            raise Unsupported(f"`{name}`, which nothing sets")
        variable = self.variables[name]
        return fill(
            require_present(self.equation(self._setters[name], t)[name]), variable.size, name
        )

    def at_step(self, variable: Variable, t: int) -> Vector | Symbol:
        """Return an input or a state at a step of this call."""
        if variable.role == "state":
            return self.set_value(variable.name, t)
        value = self.row.inputs[variable.name][t]
        slopes = self._tangents.inputs.get(variable.name)
        return _input_value(variable, value, None if slopes is None else slopes[t])

    def read(self, name: str, t: int, offset: int) -> Vector | Symbol:
        """Read a variable `offset` steps after t, within the segment of t."""
        variable, source = self.variables[name], t + offset
        if not self.segments.contains(t, source):
            return self.outside_segment(variable)
        return self.at_step(variable, source) if source >= 0 else self.before_call(variable, source)

    def before_call(self, variable: Variable, source: int) -> Vector | Symbol:
        """Return a variable at a step before this call (−1 is the last one)."""
        state = self.row.state
        if state is None or self.looks_ahead:
            return self.outside_segment(variable)
        if variable.name not in state or len(state[variable.name]) < -source:
            raise Absent(f"`{variable.name}` {-source} steps before the call: not carried")
        slopes = self._tangents.state.get(variable.name)
        values = state[variable.name]
        return _input_value(variable, values[source], None if slopes is None else slopes[source])

    def outside_segment(self, variable: Variable) -> Vector | Symbol:
        """Return a variable's value outside the reader's segment."""
        if variable.role == "input":
            if variable.kind == "symbol":
                return Symbol(-1, variable.size)
            return constant(np.zeros(variable.size))
        match variable.initial:
            case None:
                return constant(np.zeros(variable.size))
            case syntax.Name("learned"):
                parameter = self.parameter(f"init.{variable.name}", None, variable.name.lower())
                assert isinstance(parameter, Vector)
                return parameter
            case syntax.Run((syntax.Name("uniform"), _)):
                raise Unsupported(f"the drawn initial value of `{variable.name}`")
            case initial:
                return constant(np.full(variable.size, float(number(initial, {}))))

    def window(self, name: str, t: int, first: int, last: int) -> Window:
        """Return the rows of a variable in a window around t."""
        variable = self.variables[name]
        rows: list[Vector | Symbol | None] = []
        for source in range(t + first, t + last + 1):
            if not self.segments.has_row(t, source):
                rows.append(None)
            elif source >= 0:
                rows.append(self.at_step(variable, source))
            else:
                rows.append(self.before_call(variable, source))
        return Window(tuple(rows), variable.size, variable.kind == "symbol")


class Step(ExpressionEvaluator):
    """A model's expressions at one step; `targets` are the targets of predicted inputs."""

    def __init__(
        self,
        series: RowSeries,
        t: int,
        *,
        in_law: bool = False,
        targets: Mapping[str, Vector | Symbol] | None = None,
    ) -> None:
        self._series, self._t, self._in_law, self._targets = series, t, in_law, targets

    def _met(self, value: Value) -> Value:
        # A law trains the operators only: its values count as constants.
        return without_slope(value) if self._in_law else value

    def name(self, name: str) -> Value:
        series = self._series
        if name in series.locals:
            return self._met(require_present(series.equation(series.locals[name], self._t)[name]))
        if name in series.variables:
            role = series.variables[name].role
            return self.variable(name, 0 if role == "input" else -1, prime=False)
        shared = series.place.shared
        if name not in shared and (unbound_form(name) is None or self.is_operator(name)):
            raise Unsupported(f"the name `{name}`")
        return series.parameter(name, shared.get(name), name)

    def is_bound(self, name: str) -> bool:
        return name in self._series.locals or name in self._series.variables

    def variable(self, name: str, offset: int, *, prime: bool) -> Value:
        series = self._series
        if name in series.locals and offset == 0 and not prime:
            return self.name(name)
        variable = series.variables.get(name)
        if variable is None or variable.role == "output":
            raise Unsupported(f"`{name}` read at a time")
        if variable.role == "input" and (prime or offset > 0):
            if self._targets is None or name not in self._targets or offset > 1:
                raise Unsupported(f"the future of `{name}`")
            return self._targets[name]
        return self._met(series.read(name, self._t, offset))

    def window(self, name: str, first: int, last: int) -> Value:
        variable = self._series.variables.get(name)
        if variable is None or variable.role == "output" or self._in_law or first > last:
            raise Unsupported(f"a window of `{name}`")
        if variable.role == "input" and last > 0:
            raise Unsupported(f"a window into the future of `{name}`")
        return self._series.window(name, self._t, first, last)

    def is_operator(self, name: str) -> bool:
        return self._series.place.find(name) is not None

    def apply(self, name: str, operands: list[Value]) -> Value:
        return apply_operator(self._series, self._series.place, name, word_of(name), operands)


def _input_value(variable: Variable, value: Array | int, slope: Array | None) -> Vector | Symbol:
    if variable.kind == "symbol":
        return Symbol(int(value), variable.size)
    array = np.asarray(value, dtype=np.float64)
    if array.shape != (variable.size,):
        raise ValueError(f"{variable.name}: expected {variable.size} entries, got {array.shape}")
    return Vector(array, np.zeros_like(array) if slope is None else np.asarray(slope, float))


def target_name(target: syntax.Expression) -> str:
    """Return the variable or local on a left side."""
    match target:
        case syntax.Name(name) | syntax.Primed(syntax.Name(name)) | syntax.Timed(syntax.Name(name)):
            return name
        case _:
            raise Unsupported(f"the left side `{target.span.text}`")


def targets_of(target: syntax.Expression) -> Iterator[syntax.Expression]:
    """Yield the parts of a left side."""
    if isinstance(target, syntax.Parentheses):
        for argument in target.arguments:
            yield from targets_of(argument.value)
    else:
        yield target


def walk_syntax(node: object) -> Iterator[object]:
    """Yield a syntax node and all its parts."""
    waiting = [node]
    while waiting:
        item = waiting.pop()
        if isinstance(item, tuple):
            waiting += item
        elif hasattr(item, "__dataclass_fields__"):
            yield item
            waiting += [getattr(item, f) for f in item.__dataclass_fields__ if f != "span"]
