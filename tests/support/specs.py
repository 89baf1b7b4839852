"""Random valid specs: the one generator that all tests of meaning share.

`random_spec(seed)` is deterministic. Every construct of the language is in at least 5 % of the
specs (`constructs.py` counts them); sizes are tiny and values stay moderate. `feeds.py` makes what
a compiled spec is to be called with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .spec_expressions import Leaf
from .spec_windows import Windows

ASCII = {
    "⊕": "(+)", "⊗": "(*)", "⊖": "(-)", "⊛": "(**)", "⊞": "[+]", "⊠": "[*]", "▷": "|>", "◁": "<|",
    "△": "/\\", "▽": "\\/", "⊙": "*", "σ": "sigmoid", "≈": "~=", "ᵀ": "^T",
}  # fmt: skip
SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


@dataclass(frozen=True)
class Spec:
    """A spec's text and the values of its parameters that have no default."""

    seed: int
    text: str
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def ascii(self) -> str:
        """The same spec in ASCII."""
        text = re.sub("[₀-₉]+", lambda match: "_" + match[0].translate(SUBSCRIPTS), self.text)
        return "".join(ASCII.get(character, character) for character in text)


class _Generator(Windows):
    def spec(self) -> Spec:
        self._inputs()
        read = list(self.inputs)
        for _ in range(self.rng.choice([1, 1, 1, 2, 2, 3])):
            read = self._layer(read)
        read += self._windows(read)
        self._outputs(read)
        self._laws()
        self._losses(read)
        body = [*self.lines, *self.writer.parameters, *self.equations]
        if not self.headed:
            return Spec(self.seed, "\n".join([*self.top, *body, ""]), self.sizes)
        header = f"model net({', '.join(self.model)}):"
        indented = [f"    {line}" for line in body]
        return Spec(self.seed, "\n".join([*self.top, header, *indented, ""]), self.sizes)

    def _inputs(self) -> None:
        self.inputs: list[Leaf] = []
        for name in ("x", "s", "e")[: self.rng.choice([1, 1, 2, 3])]:
            kind = self.rng.choice(["real", "real", "binary", "symbol", "symbol"])
            width = self.rng.randint(2 if kind == "symbol" else 1, 5)
            written = self._size(width)
            type_ = kind if kind == "real" and written == "1" else f"{kind}[{written}]"
            self.lines.append(f"input {name}: {type_}")
            self.inputs.append(Leaf(name, width, symbol=kind == "symbol"))
        self.kinds = {
            leaf.text: self.lines[i].split(": ")[1][:4] for i, leaf in enumerate(self.inputs)
        }

    def _forward_only(self) -> bool:
        return not any(state.backward for state in self.states)

    def _outputs(self, read: list[Leaf]) -> None:
        seen = [leaf for leaf in read if leaf not in self.inputs]
        seen += [Leaf(f"{s.name}'", s.width) for s in self.states if self.roll(0.5)]
        wanted = self.rng.choice([1, 1, 2])
        predicted = self._forward_only() and self.roll(0.7)
        if predicted:
            self.predicted = self.inputs[:wanted]
            for leaf in self.predicted:
                self._predict(leaf, seen)
        if predicted and self.roll(0.7):
            return
        for number in range(1 if predicted else wanted):
            kind = self.rng.choice(["real", "real", "binary", "symbol"])
            width = self.rng.randint(2, 4) if kind == "symbol" else self.rng.randint(1, 4)
            end = " at end" if self.roll(0.35) else ""
            name = f"o{number}"
            self.lines.append(f"output {name}: {kind}[{width}]{end}")
            leaves = seen + [leaf for leaf in self._reads(self.inputs) if self.roll(0.4)]
            if self.roll(0.3):
                prefix = self.rng.choice("◁△▽") + "₁₂"[number]
                body = self._body([Leaf("h", seen[0].width)], width)
                self._define(f"{prefix} h", body, self._place())
                self.equations.append(f"{name} = {prefix} {seen[0].text}")
            else:
                value = self.writer.vector(leaves, width, 2)
                value = self.writer.apply(self._next_function(), value)
                self.equations.append(f"{name} = {value}")

    def _predict(self, leaf: Leaf, seen: list[Leaf]) -> None:
        left = f"{leaf.text}[t+1]" if self.roll(0.2) else f"{leaf.text}'"
        h = self.rng.choice(seen)
        roll = self.rng.random()
        if roll < 0.35:
            prefix = "▷" if leaf is self.inputs[0] else "▷₂"
            self.equations.append(f"{left} = {prefix} {h.text}")
        elif roll < 0.65:
            prefix = f"▷₀{'₁₂₃'[self.inputs.index(leaf)]}"
            body = self._body([Leaf("h", h.width)], leaf.width)
            if self.roll(0.5):
                body[-1:] = [f"y0: real[{leaf.width}] = {body[-1]}", "V0 y0"]
            self._define(f"{prefix} h", body, self._place())
            self.equations.append(f"{left} = {prefix} {h.text}")
        elif roll < 0.8 and self.headed:
            # The softmax is tied to the embedding of what is predicted.
            table = f"E{len(self.equations)}"
            self.lines.append(f"param {table}: real[{h.width}, {leaf.width}]")
            prefix = f"▷₀{'₁₂₃'[self.inputs.index(leaf)]}"
            self.lines.append(f"operator {prefix} h = {table}ᵀ h + b")
            self.equations.append(f"{left} = {prefix} ({table} {leaf.text} + {h.text})")
        else:
            value = self.writer.apply(self._next_function(), self.writer.affine(seen, leaf.width))
            self.equations.append(f"{left} = {value}")

    def _laws(self) -> None:
        if not self.applied or not self.roll(0.3):
            return
        symbol, leaf, width = self.rng.choice(self.applied)
        state = next(
            (s for s in self.states if s.width == width and not s.backward), self.states[0]
        )
        if leaf.text in {i.text for i in self.inputs} and state.width == width:
            past = f"{leaf.text}[t-1]"
            a, b = (
                f"{p} {symbol} ({q} {symbol} {state.name})"
                for p, q in ((leaf.text, past), (past, leaf.text))
            )
            weight = self.rng.choice(["", " weight 0.1", " weight 2"])
            self.equations.append(f"law {a} ≈ {b}{weight}")
        else:
            self.equations.append(f"law {state.name}' ≈ {state.name} weight 0.5")


def random_spec(seed: int) -> Spec:
    """The spec of a seed."""
    return _Generator(seed).spec()
