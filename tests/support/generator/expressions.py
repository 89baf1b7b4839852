"""Write random expressions of every kind in every position, with known widths."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rnnc.operators.semantics.primitives import PRIMITIVES_BY_NAME
from support.generator.positions import PLACES, POSITIVE, TAKE_ANY, TAKE_SYMBOLS
from support.generator.scope import Scope, SpecState
from support.generator.text import ITEM, PRODUCT, RUN, SUM, Text

if TYPE_CHECKING:
    from collections.abc import Sequence


def kind_of_position(position: str) -> str:
    """Return the kind of an expression around an operand in a position."""
    name, _, suffix = position.partition(" ")
    if name in PRIMITIVES_BY_NAME:
        function = PRIMITIVES_BY_NAME[name]
        if function.is_random:
            return "call random"
        return "call stopgrad" if name == "stopgrad" else f"call {function.shape_rule}"
    return {
        "add": "sum",
        "subtract": "sum",
        "multiply": "elementwise product",
        "divide": "quotient",
        "negate": "negation",
        "split": "part",
        "matrix": "product",
        "transposed": "transposed product",
        "diagonal": "diagonal product",
        "window": "mix" if suffix.startswith("transposed") else "scores",
        "infix": "infix",
        "prefix": "prefix",
        "call": "named",
        "concatenation": "concatenation",
    }[name]


COMPUTED: dict[str, list[str]] = {}
"""Positions by the kind of expression that they build."""
for _position in PLACES:
    if _position != "split z":
        COMPUTED.setdefault(kind_of_position(_position), []).append(_position)

RANDOM_FUNCTIONS = ("dropout", "variational", "zoneout")


@dataclass
class Writer:
    """Writes expressions in one scope."""

    scope: Scope
    in_loss: bool = False
    exact: bool = False
    """True if an operand of a requested kind must not be wrapped."""

    @property
    def world(self) -> SpecState:
        """Shared state of the spec."""
        return self.scope.world

    @property
    def rng(self) -> random.Random:
        """Random generator of the spec."""
        return self.scope.world.rng

    def width(self) -> int:
        """Draw a width."""
        return self.world.width()

    def add_names(self, *names: Text) -> None:
        """Make names readable."""
        self.scope.reads += names

    def number(self) -> str:
        """Draw a constant."""
        return self.rng.choice(["0.5", "2", "1e-1", "(1 - 0.25)", "0.25", "-0.5", "3 / 4", "2**1"])

    # operands

    def kinds(self, depth: int) -> list[str]:
        """Return the operand kinds that are available here."""
        available = list(dict.fromkeys(r.kind for r in self.scope.with_form("vector")))
        available += ["vector", "vector", "bias", "diagonal", "number"]
        if self.statics():
            available.append("static")
        if depth > 0:
            available += [kind for kind in COMPUTED if self._can(kind)]
            available += ["fixed"] * (not self.scope.fixed)
            available += ["lookup"] * bool(self.scope.with_form("symbol"))
        return available

    def _can(self, kind: str) -> bool:
        if kind == "call random":
            return self.world.chance
        if kind in {"scores", "mix"}:
            has = self.scope.series or self.scope.with_form("window")
            return bool(has) and not self.scope.fixed and self.scope.place != "law"
        return not (self.scope.fixed and kind in {"infix", "prefix", "named"})

    def statics(self) -> list[str]:
        """Return the names of real constants in scope."""
        return ["rate"] if self.world.headed and self.scope.place != "body" else []

    def operand(self, depth: int = 1, kind: str = "", least: int = 1) -> Text:
        """Write a value of a kind, or of a random one."""
        if kind:
            return replace(self, exact=True)._operand(depth, kind, least)
        return self._operand(depth, self.rng.choice(self.kinds(depth)), least)

    def can_write(self, kind: str) -> bool:
        """Test that an operand kind is available here."""
        known = {read.kind for read in self.scope.readable()}
        timely = self.scope.series or self.scope.with_form("window")
        return (
            kind in known
            or kind in self.kinds(2)
            or kind == "tuple"
            or (kind == "window" and bool(timely))
            or (kind in {"local", "part"} and not self.in_loss)
        )

    def _operand(self, depth: int, kind: str, least: int) -> Text:
        width = max(least, self.width())
        match kind:
            case "vector":
                return Text(self.scope.vector_parameter(width, known=True), width)
            case "bias":
                return Text(self.scope.bias(width, known=True), width)
            case "diagonal":
                return Text(self.scope.diagonal(width), width)
            case "number":
                return self._number()
            case "static":
                return Text("rate", 1)
            case "fixed":
                return self._fixed(depth)
            case "lookup":
                place = self.rng.choice(["matrix right", "transposed right"])
                symbols = self.scope.with_form("symbol")
                plain = [r for r in symbols if r.kind.endswith("symbol")]
                return PLACES[place](self, self.rng.choice(plain or symbols))
            case "tuple":
                return self.tuple_()
            case "window":
                window = self.scope.window(0, 0, symbols=None)
                assert window is not None
                return window
            case _ if kind in COMPUTED:
                return self._computed_kind(kind, depth, least)
            case _:
                readable = [
                    r
                    for r in self.scope.readable()
                    if r.kind == kind and (r.form == "vector" or kind.endswith("symbol"))
                ]
                readable = [r for r in readable if r.width >= least] or readable
                if not readable and kind in {"local", "part"} and not self.in_loss:
                    value = self.positive(width, kind)
                    return self.rng.choice([r for r in self.scope.reads if r.text == value.text])
                return self.rng.choice(readable)

    def _computed_kind(self, kind: str, depth: int, least: int) -> Text:
        """Write expressions of a kind until one is wide enough."""
        for _ in range(20):
            mark = self.scope.mark()
            value = self.computed(self.rng.choice(COMPUTED[kind]), depth)
            if value.width >= least:
                break
            self.scope.roll_back(mark)
        return value

    def _number(self) -> Text:
        text = self.number()
        level = SUM if text.startswith("-") else PRODUCT if "/" in text else ITEM
        return Text(text, 1, RUN if "**" in text else level)

    def _fixed(self, depth: int) -> Text:
        """Write a value of parameters alone."""
        writer = Writer(self.scope.restricted_to([], fixed=True), self.in_loss)
        operand = writer.operand(0, self.rng.choice(["vector", "vector", "diagonal", "bias"]))
        places = [p for kind in COMPUTED if writer._can(kind) for p in COMPUTED[kind]]
        places = [p for p in places if p not in POSITIVE]
        return PLACES[self.rng.choice(places)](writer, operand)

    def computed(self, position: str, depth: int, kind: str = "") -> Text:
        """Write an expression around an operand in a position."""
        if kind and not self.exact:
            return replace(self, exact=True).computed(position, depth, kind)
        if position in POSITIVE:
            return PLACES[position](self, self.positive(self.width(), kind))
        if not kind and self.exact and position == "negate":
            kind = self.rng.choice([k for k in self.kinds(0) if k not in {"number", "static"}])
        if not kind and not self.exact and position in TAKE_SYMBOLS and self.world.flip(0.3):
            others = self.scope.with_form("symbol", *(["window"] if position in TAKE_ANY else []))
            if others:
                return self._value(PLACES[position](self, self.rng.choice(others)))
        least = 2 if position in {"split z"} else 1
        return self._value(PLACES[position](self, self.operand(depth - 1, kind, least)))

    def _value(self, value: Text) -> Text:
        """Return one vector; unpack a tuple with a line of its own."""
        if value.form != "tuple":
            return value
        names = [self.take_apart(value)]
        vectors = [name for part in names for name in part if name.form == "vector"]
        return self.rng.choice(vectors) if vectors else self.operand(0, "vector")

    def take_apart(self, value: Text) -> list[Text]:
        """Assign the parts of a tuple to new names, in one line, and make them readable."""
        names: list[Text] = []

        def target(part: Text) -> str:
            if part.form == "tuple":
                return f"({', '.join(map(target, part.parts))})"
            name = self.world.fresh_name("p")
            names.append(
                Text(name, part.width, ITEM, part.form, part.rows, part.symbols, kind="part")
            )
            return name

        left = target(value)
        self.scope.lines.append(f"{left} = {value.text}")
        self.add_names(*names)
        return names

    def is_small(self, value: Text) -> bool:
        """Test that an expression is bounded by its outer function."""
        return value.text.startswith(("tanh(", "σ(", "softmax(", "sin(", "cos(", "softsign("))

    # values of a width

    def vector(self, width: int, depth: int, *, known: bool | None = None) -> Text:
        """Write a value of a width; `known` if nothing around it determines the width."""
        fitting = self.scope.with_form("vector", width=width)
        if fitting and self.world.flip(0.35):
            return self.rng.choice(fitting)
        if depth <= 0 and self.world.flip(0.3):
            return self.affine(width, known=width == 1 if known is None else known)
        return self.fit(self.operand(depth), width, known=width == 1 if known is None else known)

    def affine(self, width: int, *, known: bool) -> Text:
        """Write `W h + U x + b`."""
        leaves = self.scope.with_form("vector", "symbol")
        chosen = self.rng.sample(leaves, min(len(leaves), self.rng.randint(1, 2)))
        terms = [f"{self.scope.matrix(width, leaf.width, known=known)} {leaf.item}"
                 for leaf in chosen]  # fmt: skip
        if not terms or self.world.flip(0.5):
            terms.append(self.scope.bias(width, known=known))
        self.rng.shuffle(terms)
        return Text(" + ".join(terms), width, SUM if len(terms) > 1 else RUN)

    def fit(self, value: Text, width: int, *, known: bool) -> Text:
        """Convert a value to a width: unchanged, times a vector, or by a matrix."""
        if value.form == "vector" and value.width == width:
            return value
        if value.form == "vector" and value.width == 1 and self.world.flip(0.5):
            other = self.scope.squash(self.vector(width, 0, known=known))
            return Text(f"{value.at(PRODUCT)} * {other.text}", width, PRODUCT)
        matrix = self.scope.matrix(width, value.width, known=known)
        return Text(f"{matrix} {value.item}", width, RUN)

    def scalar(self) -> Text:
        """Write a value with one entry, which broadcasts with every vector."""
        numbers = self.scope.with_form("vector", width=1)
        if numbers and self.world.flip(0.4):
            return self.rng.choice(numbers)
        if self.world.flip(0.3):
            return self._number()
        return self.computed(self.rng.choice(COMPUTED["call scalar"]), 0)

    def positive(self, width: int, kind: str = "") -> Text:
        """Write a value with entries well above zero."""
        from support.generator.positive import positive

        return positive(self, width, kind)

    # what is not a vector

    def operator_argument(self) -> Text:
        """Write an operand of a concatenation or operator: a vector or a symbol."""
        symbols = self.scope.with_form("symbol")
        if symbols and self.world.flip(0.25):
            return self.rng.choice(symbols)
        return self.operand(0)

    def tuple_(self) -> Text:
        """Write a tuple of several values."""
        known = self.scope.with_form("tuple")
        if known and self.world.flip(0.3):
            return self.rng.choice(known)
        parts: list[Text] = [self.operator_argument() for _ in range(2)]
        windows = self.scope.with_form("window")
        if windows and self.world.flip(0.3):
            parts[0] = self.rng.choice(windows)
        if self.world.flip(0.2):
            parts.append(Text(
                f"({parts[0].text}, {parts[1].text})", 0, form="tuple", parts=tuple(parts)
            ))  # fmt: skip
        return self.tuple_of(parts)

    def tuple_of(self, parts: Sequence[Text]) -> Text:
        """Write a tuple of the given values."""
        end = "," if self.world.flip(0.05) else ""
        text = f"({', '.join(part.text for part in parts)}{end})"
        return Text(text, 0, form="tuple", parts=tuple(parts))

    def operator(self, fixity: str, operands: tuple[Text, ...]) -> tuple[str, Text]:
        """Choose or define an operator for the operands; return it with its result."""
        from support.generator.operators import operator

        return operator(self, fixity, operands)
