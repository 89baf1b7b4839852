"""Random layers of a spec: states, the operators that update them, and their equations."""

from __future__ import annotations

import random
from dataclasses import dataclass

from rnnc.operators.modules import LIBRARY

from .spec_expressions import ELEMENTWISE, SQUASHING, Leaf, Writer


@dataclass
class _State:
    name: str
    width: int
    backward: bool


class Layers:
    """What a spec consists of so far, and the layers that it may be given."""

    inputs: list[Leaf]

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.seed = seed
        self.fluent = tuple(self.rng.sample(ELEMENTWISE, 4))
        self.top: list[str] = []
        self.lines: list[str] = []
        self.equations: list[str] = []
        self.model: list[str] = []
        self.states: list[_State] = []
        self.operator_count = 0
        self.applied: list[tuple[str, Leaf, int]] = []
        self.library: set[str] = set()
        self.sizes: dict[str, int] = {}
        self.headed = self.rng.random() < 0.3
        self.chance = self.rng.random() < 0.5
        # Bodies written in a model see its `param` lines, so that their names must differ.
        self.writer = Writer(self.rng, self.fluent, chance=self.chance, count=50)

    def roll(self, p: float) -> bool:
        return self.rng.random() < p

    def symbol(self) -> str:
        """A free infix operator that is not yet in use."""
        self.operator_count += 1
        digits = "₀₁₂₃₄₅₆₇₈₉"
        subscript = "".join(digits[int(d)] for d in str(self.operator_count))
        if self.operator_count == 1 and self.roll(0.6):
            return "⊕"
        return self.rng.choice("⊕⊗⊖⊞⊠") + subscript

    def _size(self, width: int) -> str:
        """A width as the spec writes it: a number, or an expression over a model's parameter."""
        if not self.headed or self.roll(0.4):
            return str(width)
        name = f"size{len(self.model) + 1}"
        if self.roll(0.3):
            self.model.append(name)
            self.sizes[name] = width
            return name
        if width % 2 == 0 and self.roll(0.7):
            self.model.append(f"{name} = {width // 2}")
            return f"2 * {name}"
        self.model.append(f"{name} = {width}")
        return name

    def _reads(self, read: list[Leaf]) -> list[Leaf]:
        """What a new equation may read besides: the past of inputs and of states."""
        more = list(read)
        if self.roll(0.35):
            leaf = self.rng.choice(self.inputs)
            past = self.rng.randint(1, 3)
            more.append(Leaf(f"{leaf.text}[t-{past}]", leaf.width, leaf.symbol))
        older = [state for state in self.states if not state.backward]
        if older and self.roll(0.3):
            state = self.rng.choice(older)
            time = self.rng.choice(["", "'", "[t-2]", "[t-3]"])
            more.append(Leaf(f"{state.name}{time}", state.width))
        return more

    def _state(self, width: int, *, backward: bool = False) -> _State:
        name = ("h", "c", "g", "k", "m", "n", "r", "v")[len(self.states)]
        written = self._size(width)
        initial = self.rng.choice(
            ["", "", "", " = 0.1", " = -0.25", " = learned", " = learned", " = uniform(0, 0.1)"]
        )
        self.lines.append(f"state {name}: real[{written}]{initial}")
        state = _State(name, width, backward)
        self.states.append(state)
        return state

    def _layer(self, read: list[Leaf]) -> list[Leaf]:
        kinds = [
            "default", "default", "defined", "block", "block", "tuples", "direct", "direct",
            "named", "template", "library", "linear", "backward", "stack", "windowed",
        ]  # fmt: skip
        if not (LIBRARY / "gated.rnn").exists():
            kinds.remove("library")
        kind = self.rng.choice(kinds)
        read = self._reads(read)
        if len(self.states) > 4:
            kind = "direct"
        width = self.rng.randint(1, 5)
        made: list[_State] = getattr(self, f"_{kind}")(read, width)
        return [Leaf(f"{state.name}'", state.width) for state in made] + self.inputs

    def _old(self, state: _State) -> str:
        """A state as its own update reads it."""
        if state.backward:
            return f"{state.name}[t+{self.rng.choice([1, 2])}]"
        return self.rng.choice([state.name, state.name, f"{state.name}[t-1]", f"{state.name}[t-2]"])

    def _left(self, state: _State) -> str:
        return f"{state.name}[t]" if self.roll(0.15) else f"{state.name}'"

    def _fed(self, read: list[Leaf]) -> Leaf:
        """One operand made of what may be read: a variable, a concatenation, a local."""
        leaf = self.rng.choice(read)
        if len(read) > 1 and self.roll(0.25):
            pair = self.rng.sample(read, 2)
            return Leaf(f"[{pair[0].text} ; {pair[1].text}]", pair[0].width + pair[1].width)
        return leaf

    def _apply(self, state: _State, symbol: str, leaf: Leaf) -> list[_State]:
        self.equations.append(f"{self._left(state)} = {leaf.text} {symbol} {self._old(state)}")
        if not state.backward and not leaf.symbol:
            self.applied.append((symbol, leaf, state.width))
        return [state]

    def _default(self, read: list[Leaf], width: int) -> list[_State]:
        return self._apply(self._state(width), self._undefined(), self._fed(read))

    def _undefined(self) -> str:
        """A symbol that stands for the default operator."""
        self.operator_count += 1
        if self.operator_count == 1:
            return "⊕"
        return "⊕" + "₀₁₂₃₄₅₆₇₈₉"[self.operator_count % 10] * 2

    def _place(self) -> list[str]:
        """Where an operator is defined: in the file, or in the model."""
        return self.lines if self.headed and self.roll(0.3) else self.top

    def _body(self, operands: list[Leaf], width: int, *, results: int = 1) -> list[str]:
        """The lines of an operator's body; a single one stands on the definition's line."""
        writer = Writer(self.rng, self.fluent, chance=self.chance, annotate=results > 1)
        if results == 1 and self.roll(0.4):
            return [self._squashed(writer, operands, width)]
        writer.annotate = True
        writer.operators = self._helpers()
        leaves, lines = list(operands), []
        for index in range(self.rng.randint(1, 2)):
            size = self.rng.choice([width, width, self.rng.randint(1, 5)])
            lines.append(f"z{index}: real[{size}] = {writer.vector(leaves, size, 2)}")
            leaves.append(Leaf(f"z{index}", size))
        if self.roll(0.25):
            whole = writer.affine(leaves, width + 2)
            lines.append(f"(p, q) = split({whole}, {width}, 2)")
            leaves += [Leaf("p", width), Leaf("q", 2)]
        if self.roll(0.15):
            matrix = writer.fresh("W")
            lines.append(f"y1: real[{width}] = {matrix} {leaves[0].text}")
            same = leaves[0].text if not leaves[0].symbol else f"[{leaves[0].text}]"
            lines.append(f"y2 = {matrix} ({same}) * 0.5 + y1")
            leaves.append(Leaf("y2", width))
        values = [self._squashed(writer, leaves, width) for _ in range(results)]
        lines.append(values[0] if results == 1 else f"({', '.join(values)})")
        return [*writer.parameters, *lines]

    def _squashed(self, writer: Writer, leaves: list[Leaf], width: int) -> str:
        value = writer.vector(leaves, width, 2)
        if self.roll(0.6):
            value = writer.apply(self._next_function(), value)
        return f"{self.rng.choice(SQUASHING)}({value})"

    def _next_function(self) -> str:
        """The elementwise functions of this spec, in turn."""
        self.fluent = (*self.fluent[1:], self.fluent[0])
        return self.fluent[0]

    def _helpers(self) -> list[tuple[str, tuple[int, ...], int]]:
        """Operators to be used inside another one, newly defined."""
        if not self.roll(0.4):
            return []
        widths = (self.rng.randint(1, 4), self.rng.randint(1, 4))
        result = self.rng.randint(1, 4)
        operands = [Leaf("a", widths[0]), Leaf("b", widths[1])]
        writer = Writer(self.rng, self.fluent, chance=self.chance, annotate=False)
        self.operator_count += 1
        typed = [f"{leaf.text}: real[{leaf.width}]" for leaf in operands]
        if self.roll(0.5):
            name = f"mix{self.operator_count}"
            head, pattern = f"{name}({typed[0]}, {typed[1]})", name + "({0}, {1})"
        else:
            symbol = self.rng.choice("⊗⊖⊞⊠") + "₀₁₂₃₄₅₆₇₈₉"[self.operator_count % 10] * 2
            if any(symbol in line for line in self.top):
                return []
            head, pattern = f"({typed[0]}) {symbol} ({typed[1]})", "({0} " + symbol + " {1})"
        self.top += [
            f"operator {head}:",
            f"    z: real[{result}] = {writer.affine(operands, result)}",
            f"    y: real[{result}] = tanh(z + {writer.vector(operands, result, 1)})",
            "    y",
        ]
        return [(pattern, widths, result)]

    def _define(self, head: str, body: list[str], place: list[str]) -> None:
        if len(body) == 1 and self.roll(0.8):
            place.append(f"operator {head} = {body[0]}")
        else:
            place += [f"operator {head}:", *(f"    {line}" for line in body)]

    def _defined(self, read: list[Leaf], width: int) -> list[_State]:
        symbol, leaf = self.symbol(), self._fed(read)
        writer = Writer(self.rng, self.fluent, annotate=False, chance=self.chance)
        operands = [Leaf("x", leaf.width, leaf.symbol), Leaf("h", width)]
        self._define(f"x {symbol} h", [self._squashed(writer, operands, width)], self._place())
        return self._apply(self._state(width), symbol, leaf)

    def _block(self, read: list[Leaf], width: int) -> list[_State]:
        symbol, leaf = self.symbol(), self._fed(read)
        body = self._body([Leaf("x", leaf.width, leaf.symbol), Leaf("h", width)], width)
        self._define(f"x {symbol} h", body, self._place())
        return self._apply(self._state(width), symbol, leaf)

    def _tuples(self, read: list[Leaf], width: int) -> list[_State]:
        symbol, leaf = self.symbol(), self._fed(read)
        operands = [Leaf("x", leaf.width, leaf.symbol), Leaf("h", width), Leaf("c", width)]
        body = self._body(operands, width, results=2)
        self._define(f"x {symbol} (h, c)", body, self._place())
        h, c = self._state(width), self._state(width)
        old = f"({self._old(h)}, {self._old(c)})"
        self.equations.append(f"({h.name}', {c.name}') = {leaf.text} {symbol} {old}")
        return [h, c]

    def _direct(self, read: list[Leaf], width: int) -> list[_State]:
        state = self._state(width, backward=self.roll(0.1))
        old = Leaf(self._old(state), width)
        leaves = [*read, old]
        if self.roll(0.5):
            size = self.rng.randint(1, 4)
            local = f"y{len(self.equations)}"
            self.equations.append(f"{local}: real[{size}] = {self.writer.vector(leaves, size, 1)}")
            leaves.append(Leaf(local, size))
        value = self.writer.vector(leaves, width, 2)
        value = f"{self.rng.choice(SQUASHING)}({value} + {self.writer.matrix(old, width)})"
        if self.roll(0.3) and "(" in value:
            value = f"0.5 * {value} + 0.5 * {old.text}"
        self.equations.append(f"{self._left(state)} = {value}")
        return [state]

    def _named(self, read: list[Leaf], width: int) -> list[_State]:
        name, leaf = f"cell{len(self.states)}", self._fed(read)
        body = self._body([Leaf("x", leaf.width, leaf.symbol), Leaf("h", width)], width)
        typed = self.roll(0.4) and not leaf.symbol
        head = f"{name}(x: real[{leaf.width}], h: real[{width}])" if typed else f"{name}(x, h)"
        self._define(head, body, self._place())
        state = self._state(width)
        value = f"{name}({leaf.text}, {self._old(state)})"
        self.equations.append(f"{self._left(state)} = {value}")
        return [state]

    def _template(self, read: list[Leaf], width: int) -> list[_State]:
        if not any("operator deep(" in line for line in self.top):
            act = self.rng.choice(["tanh", "σ", "softsign"])
            self.top += [
                f"operator deep(x: real[m], h: real[n], layers = 2, act = {act}, shortcut = 0, "
                "gain = 1.0):",
                "    z_1: real[n] = act(W_1 h + U_1 x + b_1)",
                "    for l in 2..layers:",
                "        if shortcut == 1 or layers > 3:",
                "            z_l: real[n] = gain * act(W_l z_{l-1} + S_l h + Q_l x + b_l)",
                "        else:",
                "            z_l: real[n] = act(W_l z_{l-1} + b_l)",
                "    z_{layers}",
            ]
        options = ["layers = 1", "layers = 3", "act = sin", "shortcut = 1", "gain = 0.7"]
        chosen = self.rng.sample(options[self.rng.randint(0, 1) :], self.rng.randint(0, 2))
        chosen = [c for c in chosen if not c.startswith("layers")] + [
            c for c in chosen if c.startswith("layers")
        ][:1]
        symbol = self.symbol()
        names = symbol
        twin = self.roll(0.4)
        if twin:
            second = self.symbol()
            names = f"{symbol}, {second}"
        self._place().append(f"operator {names} = deep({', '.join(chosen)})".replace("()", ""))
        leaf = self.rng.choice([leaf for leaf in read if not leaf.symbol] or [Leaf("[x]", 0)])
        if leaf.width == 0:
            leaf = Leaf(f"[{self.inputs[0].text}]", self.inputs[0].width)
        made = self._apply(self._state(width), symbol, leaf)
        if twin:
            made += self._apply(self._state(width), second, Leaf(f"{made[0].name}'", width))
        return made

    def _library(self, read: list[Leaf], width: int) -> list[_State]:
        cell = self.rng.choice(["lstm", "gru"])
        self.library.add(cell)
        used = f"use {', '.join(sorted(self.library))} from gated"
        self.top = [line for line in self.top if not line.startswith("use ")]
        self.top.insert(0, used)
        symbol, leaf = self.symbol(), self._fed(read)
        self._place().append(f"operator {symbol} = {cell}")
        if cell == "gru":
            return self._apply(self._state(width), symbol, leaf)
        h, c = self._state(width), self._state(width)
        self.equations.append(
            f"({h.name}', {c.name}') = {leaf.text} {symbol} ({self._old(h)}, {c.name})"
        )
        return [h, c]

    def _linear(self, read: list[Leaf], width: int) -> list[_State]:
        """A recurrence that is affine in its own state, elementwise: what becomes a scan."""
        state = self._state(width, backward=self.roll(0.15))
        old = f"{state.name}[t+1]" if state.backward else state.name
        fed = self.writer.vector(read, width, 1)
        match self.rng.randint(0, 3):
            case 0:
                gate = f"f{len(self.states)}"
                self.equations.append(
                    f"{gate}: real[{width}] = σ({self.writer.affine(read, width)})"
                )
                value = f"{gate} ⊙ {old} + (1 - {gate}) ⊙ tanh({fed})"
            case 1:
                u = self.writer.fresh("u")
                self.writer.parameters.append(f"param {u}: diagonal, uniform(-0.9, 0.9)")
                value = f"{u} {old} + {fed}"
            case 2:
                value = f"0.75 * {old} + {self.writer.apply(self._next_function(), fed)}"
            case _:
                second = self._state(width, backward=state.backward)
                other = f"{second.name}[t+1]" if second.backward else second.name
                self.equations.append(f"{second.name}' = 0.5 * {other} + tanh({state.name}')")
                value = f"0.5 * {old} - 0.25 * {old} + {fed}"
        self.equations.append(f"{state.name}' = {value}")
        return [state]

    def _backward(self, read: list[Leaf], width: int) -> list[_State]:
        state = self._state(width, backward=True)
        return self._apply(state, self._undefined(), self._fed(read))

    def _stack(self, read: list[Leaf], width: int) -> list[_State]:
        """Layers written with `for`, in the model."""
        if any(line.startswith("    state k_l") for line in self.lines):
            return self._direct(read, width)
        layers = self.rng.randint(2, 3)
        bound = str(layers)
        if self.headed:
            self.model.append(f"layers = {layers}")
            bound = "layers"
        leaf = self._fed([leaf for leaf in read if not leaf.symbol] or [Leaf("[x]", 0)])
        if leaf.width == 0:
            leaf = Leaf(f"[{self.inputs[0].text}]", self.inputs[0].width)
        self.lines += [f"for l in 1..{bound}:", f"    state k_l: real[{width}]"]
        self.equations += [
            f"w_0 = {leaf.text}",
            f"for l in 1..{bound}:",
            "    k_l' = w_{l-1} ⊛_l k_l" if self.roll(0.5) else "    k_{l}' = w_{l-1} ⊛_{l} k_l",
        ]
        self.top.append("operator fold(x, h) = tanh(W h + U x + b)")
        self.lines += [f"for l in 1..{bound}:", "    operator ⊛_l = fold"]
        skip = [f"    if l == {bound}:", "        w_l = k_l' * 0.5", "    else:"]
        self.equations += [*skip, "        w_l = k_l'"] if self.roll(0.4) else ["    w_l = k_l'"]
        top = Leaf(f"w_{layers}", width)
        state = self._state(width)
        symbol = self.symbol()
        self._define(f"x {symbol} h", ["tanh(W h + U x + b)"], self.top)
        return self._apply(state, symbol, top)
