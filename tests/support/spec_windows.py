"""Random windows of time and `loss` terms, for the specs of `specs.py`."""

from __future__ import annotations

from .spec_expressions import Leaf
from .spec_layers import Layers


class Windows(Layers):
    """Windows over inputs and states, in a loop and after it, and losses of a spec's own."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.predicted: list[Leaf] = []
        self.pointers: list[tuple[str, str, Leaf]] = []
        """Weights of rows, the window, and the symbol that it looks through."""

    def _bounds(self) -> tuple[int, int]:
        first = self.rng.randint(0, 4)
        return first, self.rng.randint(0, first)

    def _over(self, name: str, *, backward: bool = False) -> tuple[str, int]:
        """A new window over a variable: its name and its rows."""
        first, last = self._bounds()
        times = [f"t-{first}" if first else "t", f"t-{last}" if last else "t"]
        if backward and self.roll(0.6):
            times = [time.replace("-", "+") for time in reversed(times)]
        window = f"M{len(self.equations)}"
        self.equations.append(f"{window} = {name}[{times[0]}..{times[1]}]")
        return window, first - last + 1

    def _windows(self, read: list[Leaf]) -> list[Leaf]:
        """What windows give, each seen in an output of its own."""
        made: list[Leaf] = []
        for _ in range(self.rng.choice([0, 0, 1, 1, 2])):
            leaves = [leaf for leaf in read if not leaf.symbol]
            symbols = [leaf for leaf in self.inputs if leaf.symbol]
            if symbols and self.roll(0.6):
                variable = self.rng.choice(symbols)
                text, width = self._of_symbols(variable, leaves)
            else:
                text, width = self._of_vectors(leaves)
            local, output = f"d{len(self.equations)}", f"u{len(made)}"
            self.equations.append(f"{local}: real[{width}] = {text}")
            self.lines.append(f"output {output}: real[{width}]{self.rng.choice(['', ' at end'])}")
            self.equations.append(f"{output} = {local}")
            made.append(Leaf(local, width))
        return made

    def _of_vectors(self, leaves: list[Leaf]) -> tuple[str, int]:
        """Attention over rows, their scores, or a weighted sum of them."""
        real = [leaf for leaf in self.inputs if not leaf.symbol]
        states = [state for state in self.states if self.roll(0.7)] or self.states[:1]
        if real and self.roll(0.3):
            variable = self.rng.choice(real)
            window, rows = self._over(variable.text)
        else:
            state = self.rng.choice(states)
            variable = Leaf(state.name, state.width)
            window, rows = self._over(state.name, backward=state.backward)
        query = self.writer.affine(leaves, variable.width)
        match self.rng.randint(0, 3):
            case 0:
                return f"{window}ᵀ tanh({self.writer.affine(leaves, rows)})", variable.width
            case 1:
                return f"tanh({window} ({query})) + {self.writer.affine(leaves, rows)}", rows
            case _:
                return f"{window}ᵀ softmax({window} ({query}))", variable.width

    def _of_symbols(self, symbol: Leaf, leaves: list[Leaf]) -> tuple[str, int]:
        """A mixture with what is pointed at, how often a symbol was met, or weighted symbols."""
        window, rows = self._over(symbol.text)
        n, size = symbol.width, len(self.equations)
        query = self.writer.affine(leaves, n)
        match self.rng.randint(0, 2):
            case 0:
                share, rest = f"pa{size}", f"pg{size}"
                scores = f"[{window} ({query}) ; sum({self.rng.choice(leaves).text})]"
                self.equations.append(f"({share}, {rest}) = split(softmax({scores}), {rows}, 1)")
                self.pointers.append((share, window, symbol))
                gate = f"{rest} * softmax({self.writer.affine(leaves, n)})"
                return f"log({gate} + {window}ᵀ {share})", n
            case 1:
                weights = f"softmax({window} ({query}))"
                return f"log(0.5 + dot({weights}, {window} {symbol.text}))", 1
            case _:
                return f"{window}ᵀ tanh({window} ({query}))", n

    def _windowed(self, read: list[Leaf], width: int) -> list[object]:
        """A state whose update looks through its own past (or future)."""
        state = self._state(width, backward=self.roll(0.2))
        sign, old = ("+", "t+1") if state.backward else ("-", "t-1")
        rows = self.rng.randint(1, 4)
        window = f"M{len(self.equations)}"
        ends = [old, f"t{sign}{rows}"]
        first, last = ends if state.backward else ends[::-1]
        self.equations.append(f"{window} = {state.name}[{first}..{last}]")
        query, fed = (self.writer.affine(read, width) for _ in range(2))
        if self.roll(0.5):
            query = f"{query} + {state.name}[{old}]"
        seen = f"{window}ᵀ softmax({window} ({query}))"
        self.equations.append(f"{self._left(state)} = tanh({seen} + {fed})")
        return [state]

    def _losses(self, read: list[Leaf]) -> None:
        """Terms of the loss, some with the target."""
        if not self.roll(0.25):
            return
        leaf = self.rng.choice([leaf for leaf in read if not leaf.symbol] or [Leaf("[x]", 0)])
        terms = [] if not leaf.width else [f"0.3 * dot({leaf.text}, {leaf.text})"]
        for target in self.predicted:
            goal = Leaf(f"{target.text}'", target.width, target.symbol)
            if leaf.width:
                terms.append(f"dot({leaf.text}, {self.writer.matrix(goal, leaf.width)})")
            terms += [
                f"-log(0.5 + dot({share}, {window} {goal.text}))"
                for share, window, symbol in self.pointers
                if symbol.text == target.text
            ]
        if terms:
            self.equations.append(f"loss {terms[-1] if self.roll(0.6) else self.rng.choice(terms)}")
            self.equations[-1] += self.rng.choice(["", " weight 0.5", " weight 2"])
