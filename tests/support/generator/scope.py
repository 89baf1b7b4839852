"""Scopes of a random spec: readable names, and the parameters that expressions declare."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from support.generator.text import Text

DELAYS = (2, 2, 3, 5)
BOUNDED_FUNCTIONS = ("tanh", "σ", "softsign", "sin", "cos", "softmax")


@dataclass
class SpecState:
    """Shared state of a spec: random generator, fresh names, definitions and model parameters."""

    rng: random.Random
    chance: bool
    headed: bool
    widths: tuple[int, ...]
    top: list[str] = field(default_factory=list)
    operators: list[Any] = field(default_factory=list)
    statics: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    symbols: int = 0
    count: int = 0
    depth: int = 0

    def flip(self, p: float) -> bool:
        """Return True with probability p."""
        return self.rng.random() < p

    def fresh_name(self, letter: str) -> str:
        """Return a new name."""
        self.count += 1
        return f"{letter}{self.count}"

    def width(self) -> int:
        """Draw one of the few widths of this spec, so that most values match."""
        return self.rng.choice(self.widths)

    def size(self, width: int) -> str:
        """Write a width as a number, or as an expression of a model parameter."""
        if not self.headed or self.flip(0.5):
            return str(width)
        name = f"size{len(self.statics) + 1}"
        match self.rng.randint(0, 5):
            case 0:
                self.sizes[name] = width
                self.statics.append(name)
                return name
            case 1 if width % 2 == 0:
                self.statics.append(f"{name} = {width // 2}")
                return f"2 * {name}"
            case 2:
                self.statics.append(f"{name} = {2 * width + 1}")
                return f"{name} // 2"
            case 3:
                self.statics.append(f"{name} = {width + 7}")
                return f"{name} % 7 + {width - width % 7}" if width % 7 else f"{name} - 7"
            case 4 if width in (2, 4):
                self.statics.append(f"{name} = {width // 2}")
                return f"2**{name}"
            case _:
                self.statics.append(f"{name} = {width + 1}")
                return f"({name} - 1)"


@dataclass(frozen=True)
class Series:
    """A variable, readable at steps from `first` to `last`, 0 being now."""

    name: str
    width: int
    role: str
    first: int
    last: int

    @property
    def is_symbol(self) -> bool:
        """True for an input of symbols."""
        return self.role == "symbol"

    def reads(self, rng: random.Random) -> list[Text]:
        """Return one read of each kind."""
        form = "symbol" if self.is_symbol else "vector"
        backs = [-rng.choice([1, 2, 3, 5])] if self.role in {"real", "binary", "symbol"} else []
        backs += [-1, -rng.choice(DELAYS)] if self.role == "forward" else []
        backs += [-rng.choice([1, 2, 3]), 1, rng.choice(DELAYS)] if self.role == "backward" else []
        return [
            Text(self.at(step, rng), self.width, form=form, kind=self.kind(step))  # type: ignore[arg-type]
            for step in [0, *backs]
            if self.first <= step <= self.last
        ]

    def kind(self, step: int) -> str:
        """Return the operand kind of a read at a step."""
        if self.role in {"real", "binary", "symbol"}:
            return f"past {self.role}" if step else self.role
        past = {0: "state", -1: "old state"}.get(step, "far state")
        if self.role == "forward":
            return past
        return {0: "backward state", 1: "next state"}.get(
            step, "backward past" if step < 0 else "far future"
        )

    def at(self, step: int, rng: random.Random) -> str:
        """Write the variable at a step, in one of several notations."""
        timed = f"{self.name}[t{step:+d}]" if step else f"{self.name}[t]"
        if self.role in {"real", "binary", "symbol"}:
            return timed if step or rng.random() < 0.2 else self.name
        if step == 0 and rng.random() < 0.8:
            return f"{self.name}'"
        if step == -1 and self.role == "forward" and rng.random() < 0.7:
            return self.name
        return timed


@dataclass
class Scope:
    """The equations of a model, the body of an operator, a law, or a loss.

    `reads` are the names that stand for values here; `lines` takes `param` lines and locals in the
    order in which they are written.
    """

    world: SpecState
    lines: list[str]
    reads: list[Text] = field(default_factory=list)
    series: dict[str, Series] = field(default_factory=dict)
    place: str = "model"
    declared: list[str] = field(default_factory=list)
    matrices: list[tuple[str, int, int]] = field(default_factory=list)
    fixed: bool = False
    add_series: Callable[[int], None] | None = None
    """Declares a state of a width, as the source of a window."""

    @property
    def rng(self) -> random.Random:
        """Random generator of the spec."""
        return self.world.rng

    def restricted_to(self, reads: list[Text], *, fixed: bool = False) -> Scope:
        """Return the same scope with other readable names."""
        return replace(self, reads=reads, series={}, fixed=fixed)

    def readable(self) -> list[Text]:
        """Return every readable name, with variables at one step of each kind."""
        names = [read for series in self.series.values() for read in series.reads(self.rng)]
        return names + self.reads

    def with_form(self, *forms: str, width: int = 0) -> list[Text]:
        """Return the readable names of some forms, and of one width if given."""
        return [r for r in self.readable() if r.form in forms and width in (0, r.width)]

    def window(self, width: int, rows: int, *, symbols: bool | None) -> Text | None:
        """Return a window of a width or number of rows; declare a new one outside bodies."""
        known = [
            w
            for w in self.reads
            if w.form == "window" and width in (0, w.width) and rows in (0, w.rows)
            and symbols in (None, w.symbols)
        ]  # fmt: skip
        if known and (self.place == "body" or self.world.flip(0.5)):
            return self.rng.choice(known)
        fitting = [
            s
            for s in self.series.values()
            if width in (0, s.width) and symbols in (None, s.is_symbol)
        ]
        if not fitting:
            return None
        series = self.rng.choice(fitting)
        length = rows or self.rng.randint(1, 4)
        longest = series.last - series.first + 1
        first = self.rng.randint(series.first, max(series.first, series.last + 1 - length))
        if length > longest:
            # Only windows into the past have unlimited length.
            first = series.last + 1 - length if series.role != "backward" else series.first
        last = first + length - 1
        name = self.world.fresh_name("M")
        ends = [f"t{step:+d}" if step else "t" for step in (first, last)]
        self.lines.append(f"{name} = {series.name}[{ends[0]}..{ends[1]}]")
        new_window = Text(
            name, series.width, form="window", rows=length, symbols=series.is_symbol, kind="window"
        )
        self.reads.append(new_window)
        return new_window

    def declare(self, line: str) -> None:
        """Write a `param` line."""
        self.declared.append(f"param {line}")

    def matrix(self, rows: int, columns: int, *, known: bool) -> str:
        """Return a matrix from `columns` to `rows`; `known` declares its shape."""
        tied = [name for name, *shape in self.matrices if shape == [rows, columns]]
        if tied and self.world.flip(0.2):
            return self.rng.choice(tied)
        turned = [name for name, *shape in self.matrices if shape == [columns, rows]]
        if turned and self.world.flip(0.2):
            return self.rng.choice(turned) + "ᵀ"
        name, flipped = self.world.fresh_name(self.rng.choice("WUVA")), self.world.flip(0.15)
        shape = (columns, rows) if flipped else (rows, columns)
        notes: list[str] = []
        if known:
            notes.append(f"real[{shape[0]}, {shape[1]}]")
            self.matrices.append((name, *shape))
        if self.world.flip(0.35):
            notes.append(self._annotation(*shape))
        if notes:
            self.declare(f"{name}: {', '.join(notes)}")
        return name + ("ᵀ" if flipped else "")

    def _annotation(self, rows: int, columns: int) -> str:
        choices = [
            "orthogonal", "sparse(1)", "orthogonal, scale(0.9)", "normal(0.3)", "constant(0.2)",
            "uniform(-0.4, 0.4)", "frozen", "weightdrop(0.4)", "normal(0.2), scale(0.8)",
        ]  # fmt: skip
        if not self.world.chance:
            choices.remove("weightdrop(0.4)")
        if rows == columns:
            choices += ["radius(0.9)"] * 4
        for k in (2, 3):
            if rows % k == columns % k == 0:
                choices += [f"blocks({k})"] * 4
        return self.rng.choice(choices)

    def vector_parameter(self, width: int, *, known: bool, start: str = "") -> str:
        """Declare a vector parameter by annotation or by size."""
        start = start or self.rng.choice(["", "", ", constant(1)", ", uniform(0.5, 1.5)"])
        name = self.world.fresh_name(self.rng.choice(["a", "p", "α"]))
        size = f"real[{width}]" if known or self.world.flip(0.3) else ""
        annotations = ["vector"] if not size or self.world.flip(0.4) else []
        self.declare(f"{name}: {', '.join(filter(None, [*annotations, size]))}{start}")
        return name

    def bias(self, width: int, *, known: bool) -> str:
        """Return a bias, declared only if its width cannot be inferred."""
        name = self.world.fresh_name("b")
        if known:
            self.declare(f"{name}: real[{width}]")
        return name

    def diagonal(self, width: int) -> str:
        """Declare a diagonal matrix."""
        name = self.world.fresh_name("d")
        self.declare(f"{name}: diagonal, real[{width}]")
        return name

    def _written(self) -> tuple[list[Any], ...]:
        world = self.world
        return self.lines, self.reads, self.declared, self.matrices, world.top, world.operators

    def mark(self) -> tuple[int, ...]:
        """Return the lengths of all lists, for `roll_back`."""
        return tuple(len(items) for items in self._written())

    def roll_back(self, mark: tuple[int, ...]) -> None:
        """Remove everything written after a mark."""
        for items, length in zip(self._written(), mark, strict=True):
            del items[length:]

    def squash(self, value: Text) -> Text:
        """Apply a bounded function to a value."""
        return Text(f"{self.rng.choice(BOUNDED_FUNCTIONS)}({value.text})", value.width)
