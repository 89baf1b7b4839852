"""Generate states and their updates: groups of one direction that read each other."""

from __future__ import annotations

from dataclasses import replace

from support.generator.expressions import COMPUTED, Writer
from support.generator.operators import DIGITS, define, local, show
from support.generator.positions import PLACES, POSITIVE
from support.generator.scope import Series
from support.generator.text import INFIX, Text

NAMES = ("h", "g", "c", "k", "m", "n", "r", "v", "u", "w")
INITIAL_VALUES = (
    "", "", " = 0.1", " = -1.5", " = 2", " = learned", " = learned", " = uniform(0, 0.1)",
    " = uniform(-0.5, 0.5)",
)  # fmt: skip
DIRECTIONS = ("forward", "backward")
AHEAD, BACK = 6, -6
LOCAL_POSITIONS = frozenset((*PLACES, "local", "tuple"))
"""Positions that can be written as a local."""


class Layers:
    """The states of a model so far, with the lines that declare and update them."""

    def __init__(self, writer: Writer) -> None:
        self.writer, self.scope, self.world = writer, writer.scope, writer.world
        self.declarations: list[str] = []
        self.states: list[Series] = []
        self.unique: set[str] = set()
        self.scope.add_series = self.add_state

    def add_group(self, direction: str, count: int, owed: list[tuple[str, str]]) -> None:
        """Add states of one direction; each may read the past (the future) of all of them.

        owed: pairs of a position and a kind; those that the group contains are removed.
        """
        states = [self.declare(direction) for _ in range(count)]
        waiting = list(states)
        while waiting:
            self.write_owed(owed)
            states += self._add_owed_states(direction, owed)
            if self.world.flip(0.2):
                local(self.writer, 2)
            self._update(waiting)
        states += self._add_owed_states(direction, owed)
        if direction == "backward":
            for state in states:
                self.scope.series[state.name] = replace(state, first=-4, last=AHEAD)
        self.write_owed(owed)

    def _add_owed_states(self, direction: str, owed: list[tuple[str, str]]) -> list[Series]:
        """Add a state for each owed pair whose position is a state's value."""
        state_position = "state" if direction == "forward" else "backward state"
        states: list[Series] = []
        for position, kind in list(owed):
            if position == state_position and self.writer.can_write(kind):
                owed.remove((position, kind))
                states.append(self._add_owed_state(direction, kind))
        return states

    def write_owed(self, owed: list[tuple[str, str]]) -> None:
        """Write the owed pairs that are available now."""
        for position, kind in list(owed):
            if position in LOCAL_POSITIONS and self.writer.can_write(kind):
                owed.remove((position, kind))
                show(self.writer, position, kind)

    def declare(self, direction: str, width: int = 0) -> Series:
        """Declare a state, readable before (after) the step."""
        name = NAMES[len(self.states) % len(NAMES)]
        if len(self.states) >= len(NAMES):
            name = f"{name}_{len(self.states)}"
        width = width or self.world.width()
        start = self.world.rng.choice(INITIAL_VALUES)
        self.declarations.append(f"state {name}: {self.type(width)}{start}")
        span = (1, AHEAD) if direction == "backward" else (BACK, -1)
        state = Series(name, width, direction, *span)
        self.scope.series[name] = state
        self.states.append(state)
        return state

    def type(self, width: int) -> str:
        """Write a real type."""
        size = self.world.size(width)
        return "real" if size == "1" and self.world.flip(0.5) else f"real[{size}]"

    def _left(self, state: Series) -> str:
        return f"{state.name}[t]" if self.world.flip(0.2) else f"{state.name}'"

    def _previous_value(self, state: Series) -> Text:
        """Read a state as in its own update."""
        kinds = [r for r in state.reads(self.world.rng) if r.kind != "state"]
        return self.world.rng.choice(kinds)

    def mark_set(self, *states: Series) -> None:
        """Make states readable at their own step."""
        for state in states:
            known = replace(self.scope.series[state.name])
            first, last = (0, known.last) if state.role == "backward" else (known.first, 0)
            self.scope.series[state.name] = replace(known, first=first, last=last)

    def set_state(self, state: Series, value: Text, *, owed: bool = False) -> None:
        """Write the equation of a state."""
        fitted = self.writer.fit(value, state.width, known=False) if not owed else value
        if state.role == "backward" and f"{state.name}[t+" not in fitted.text and not owed:
            fitted = Text(
                f"{fitted.at(1)} + 0.5 * {self._previous_value(state).text}", state.width, 1
            )
        self.scope.lines.append(f"{self._left(state)} = {fitted.text}")
        self.mark_set(state)

    def _add_owed_state(self, direction: str, kind: str) -> Series:
        """Add a state set to an operand kind; a backward one reads its own future."""
        if direction == "forward":
            value = self.writer.operand(2, kind)
            state = self.declare(direction, value.width)
            self.set_state(state, value, owed=True)
            return state
        state = self.declare(direction, 1 if kind == "call scalar" else 0)
        for _ in range(60):
            mark = self.scope.mark()
            value = self._of_future(state, kind)
            if value.width == state.width:
                break
            self.scope.roll_back(mark)
        self.set_state(state, value, owed=True)
        return state

    def _of_future(self, state: Series, kind: str) -> Text:
        """Write an operand of a kind from a state's own future."""
        old = self._previous_value(state)
        if kind in COMPUTED:
            writer = Writer(replace(self.scope, reads=[], series={state.name: state}))
            writer.scope.add_series = None
            places = [place for place in COMPUTED[kind] if place not in POSITIVE]
            return writer.computed(self.world.rng.choice(places), 1, old.kind)
        if kind in {"next state", "far future"}:
            return next(r for r in state.reads(self.world.rng) if r.kind == kind)
        name = self.world.fresh_name("z")
        left = name if kind == "local" else f"({name}, {self.world.fresh_name('p')})"
        right = f"tanh({old.text})" if kind == "local" else f"(tanh({old.text}), 0.5)"
        self.scope.lines.append(f"{left} = {right}")
        return Text(name, state.width)

    def add_state(self, width: int) -> None:
        """Add a state of a width, as the source of a window."""
        inputs = {n: s for n, s in self.scope.series.items() if s.role not in DIRECTIONS}
        writer = Writer(replace(self.scope, reads=[], series=inputs, add_series=None))
        state = self.declare("forward", width)
        self.set_state(state, self.scope.squash(writer.affine(width, known=True)))

    def _update(self, waiting: list[Series]) -> None:
        """Set one state, or several at once."""
        kinds = [self._direct, self._direct, self._applied, self._linear, self._defaulted]
        if len(waiting) > 1:
            kinds += [self._together, self._pair]
        self.world.rng.choice(kinds)(waiting)

    def _direct(self, waiting: list[Series]) -> None:
        """Set a state to an expression of its old value and other names."""
        state = waiting.pop(0)
        writer, world = self.writer, self.world
        value = writer.vector(state.width, 2)
        if world.flip(0.6):
            old = self._previous_value(state)
            term = Text(
                f"{self.scope.matrix(state.width, old.width, known=False)} {old.item}", 0, 4
            )
            value = Text(f"{value.at(1)} + {term.text}", state.width, 1)
        value = writer.scope.squash(value)
        if world.flip(0.25):
            value = Text(
                f"0.5 * {self._previous_value(state).text} + 0.5 * {value.text}", state.width, 1
            )
        self.set_state(state, value)

    def _applied(self, waiting: list[Series]) -> None:
        """Set a state by a newly defined operator."""
        state = waiting.pop(0)
        operands = (self.writer.operator_argument(), self._previous_value(state))
        fixity = self.world.rng.choice(["infix", "infix", "named"])
        operator = define(self.world, fixity, operands, result=(state.width,))
        self.set_state(state, apply_operator(operator.name, fixity, operands, state.width))

    def _defaulted(self, waiting: list[Series]) -> None:
        """Set a state by an undefined ⊕: `h' = x ⊕ h`."""
        state = waiting.pop(0)
        symbol = "⊕"
        if "⊕" in self.unique or self.world.flip(0.3):
            self.world.symbols += 1
            symbol = "⊕" + str(self.world.symbols).translate(DIGITS)
        self.unique.add(symbol)
        # The default's result has its target's width, so `fit` cannot be used.
        left, argument = self._left(state), self.writer.operator_argument().at(1)
        previous = self._previous_value(state).text
        self.scope.lines.append(f"{left} = {argument} {symbol} {previous}")
        self.mark_set(state)

    def _linear(self, waiting: list[Series]) -> None:
        """Set a state by an affine elementwise recurrence, which becomes a scan."""
        state = waiting.pop(0)
        writer, width = self.writer, state.width
        old = self._previous_value(state)
        fed = writer.vector(width, 1)
        match self.world.rng.randint(0, 3):
            case 0:
                gate = self.world.fresh_name("f")
                inner = writer.vector(width, 1, known=True)
                self.scope.lines.append(f"{gate}: real[{width}] = σ({inner.text})")
                self.scope.reads.append(Text(gate, width, kind="local"))
                text = f"{gate} ⊙ {old.text} + (1 - {gate}) ⊙ tanh({fed.text})"
            case 1:
                name = self.world.fresh_name("u")
                self.scope.declare(f"{name}: diagonal, uniform(-0.9, 0.9)")
                text = f"{name} {old.text} + {fed.at(2)}"
            case 2:
                text = f"0.75 * {old.text} + {fed.at(2)}"
            case _:
                second = self._previous_value(state)
                text = f"0.5 * {old.text} - 0.25 * {second.text} + {fed.at(2)}"
        self.scope.lines.append(f"{self._left(state)} = {text}")
        self.mark_set(state)

    def _together(self, waiting: list[Series]) -> None:
        """Set two states by one operator: `(h', c') = x ⊕ (h, c)`."""
        states = [waiting.pop(0), waiting.pop(0)]
        old = self.writer.tuple_of([self._previous_value(state) for state in states])
        operands = (self.writer.operator_argument(), old)
        fixity = self.world.rng.choice(["infix", "infix", "named"])
        widths = tuple(state.width for state in states)
        operator = define(self.world, fixity, operands, result=widths)
        left = ", ".join(self._left(state) for state in states)
        self.scope.lines.append(
            f"({left}) = {apply_operator(operator.name, fixity, operands, 0).text}"
        )
        self.mark_set(*states)

    def _pair(self, waiting: list[Series]) -> None:
        """Set two states, or a state and a local, by a tuple."""
        states = [waiting.pop(0), waiting.pop(0)]
        values = [self.writer.vector(state.width, 1) for state in states]
        squashed = [self.writer.scope.squash(value).text for value in values]
        if states[0].role == "backward":
            squashed = [f"{v} + 0.5 * {self._previous_value(s).text}"
                        for v, s in zip(squashed, states, strict=True)]  # fmt: skip
        left = [self._left(state) for state in states]
        if self.world.flip(0.4):
            name, extra = self.world.fresh_name("p"), self.writer.operand(1)
            left, squashed = (
                [left[0], f"({left[1]}, {name})"],
                [squashed[0], f"({squashed[1]}, {extra.text})"],
            )
            self.scope.lines.append(f"({', '.join(left)}) = ({', '.join(squashed)})")
            self.scope.reads.append(Text(name, extra.width, kind="part"))
        else:
            self.scope.lines.append(f"({', '.join(left)}) = ({', '.join(squashed)})")
        self.mark_set(*states)


def apply_operator(name: str, fixity: str, operands: tuple[Text, ...], width: int) -> Text:
    """Write the application of an operator."""
    if fixity == "named":
        return Text(f"{name}({', '.join(operand.text for operand in operands)})", width)
    left, right = (operand.at(1) for operand in operands)
    return Text(f"{left} {name} {right}", width, INFIX)
