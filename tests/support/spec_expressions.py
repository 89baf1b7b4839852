"""Random expressions of known width whose values stay moderate."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

ELEMENTWISE = (
    "tanh", "σ", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "softsign", "exp",
    "log", "abs", "sqrt", "sin", "cos", "identity",
)  # fmt: skip
SQUASHING = ("tanh", "σ", "softsign", "sin", "cos", "softmax")

# What bounds the arguments of functions that would otherwise leave the numbers that tests can
# compare: their growth, their poles, or the poles of their derivatives.
BOUNDED = {
    "exp": "exp(tanh({0}))",
    "log": "log(2 + tanh({0}))",
    "sqrt": "sqrt(1.5 + sin({0}))",
}


@dataclass
class Leaf:
    """Something an expression may read, as it is written, and how wide it is."""

    text: str
    width: int
    symbol: bool = False


@dataclass
class Writer:
    """Writes the expressions of one scope; `parameters` collects the `param` lines they need.

    `fluent` are the elementwise functions that this spec prefers; `operators` are named or infix
    operators that the scope may apply: (pattern, widths of the operands, width of the result).
    """

    rng: random.Random
    fluent: tuple[str, ...]
    annotate: bool = True
    parameters: list[str] = field(default_factory=list)
    operators: list[tuple[str, tuple[int, ...], int]] = field(default_factory=list)
    chance: bool = True
    count: int = 0

    def fresh(self, letter: str) -> str:
        """A new name."""
        self.count += 1
        return f"{letter}{self.count}"

    def vector(self, leaves: list[Leaf], width: int, depth: int) -> str:
        """An expression of a width; the deeper, the more is in it."""
        if depth <= 0:
            return self.affine(leaves, width)
        kinds = ["affine", "function", "function", "sum", "product", "scaled"]
        kinds += ["divide", "negate", "concatenation", "dot", "softmax", "stopgrad"]
        kinds += ["operator"] * 3 * bool(self.operators)
        kinds += ["layernorm", "rmsnorm", "lp", "maxout", "diagonal"] * self.annotate
        kinds += ["dropout", "variational", "zoneout"] * self.chance
        return getattr(self, f"_{self.rng.choice(kinds)}")(leaves, width, depth - 1)

    def affine(self, leaves: list[Leaf], width: int) -> str:
        """`W h + U x + b`, or a leaf as it is; always of a width that can be inferred."""
        fitting = [leaf for leaf in leaves if leaf.width == width and not leaf.symbol]
        if fitting and self.rng.random() < 0.3:
            return self.rng.choice(fitting).text
        terms = [self.matrix(leaf, width) for leaf in self._some(leaves)]
        if self.rng.random() < 0.5:
            terms.append(self.fresh("b"))
        self.rng.shuffle(terms)
        return f"({' + '.join(terms)})" if len(terms) > 1 else terms[0]

    def matrix(self, leaf: Leaf, width: int) -> str:
        """A product with a new matrix."""
        name = self.fresh(self.rng.choice("WUV"))
        roll = self.rng.random()
        if roll < 0.15:
            return f"{name}ᵀ {leaf.text}"
        if not self.annotate:
            return f"{name} {leaf.text}"
        if roll < 0.22 and not leaf.symbol:
            inner = self.rng.randint(1, 3)
            outer = self.fresh("W")
            self.parameters.append(f"param {outer}: real[{width}, {inner}]")
            return f"{outer} {name} {leaf.text}"
        if roll < 0.5:
            self.parameters.append(f"param {name}: {self._annotation(leaf.width, width)}")
        return f"{name} {leaf.text}"

    def _annotation(self, columns: int, rows: int) -> str:
        choices = [
            "orthogonal", "sparse(1)", "orthogonal, scale(0.9)", "normal(0.3)",
            "uniform(-0.4, 0.4)", "frozen", "weightdrop(0.4)", f"real[{rows}, {columns}]",
            "normal(0.2), scale(0.8)",
        ]  # fmt: skip
        if rows == columns:
            choices += ["radius(0.9)"] * 6
        for k in (2, 3):
            if rows % k == columns % k == 0:
                choices += [f"blocks({k})"] * 4
        return self.rng.choice(choices)

    def _some(self, leaves: list[Leaf]) -> list[Leaf]:
        return self.rng.sample(leaves, self.rng.randint(1, min(2, len(leaves))))

    def _affine(self, leaves: list[Leaf], width: int, depth: int) -> str:
        return self.affine(leaves, width)

    def apply(self, function: str, argument: str) -> str:
        """An elementwise function, its argument bounded where that is needed."""
        return BOUNDED.get(function, function + "({0})").format(argument)

    def _function(self, leaves: list[Leaf], width: int, depth: int) -> str:
        return self.apply(self.rng.choice(self.fluent), self.vector(leaves, width, depth))

    def _sum(self, leaves: list[Leaf], width: int, depth: int) -> str:
        a, b = self.vector(leaves, width, depth), self.vector(leaves, width, depth)
        return f"({a} {self.rng.choice('+-')} {b})"

    def _product(self, leaves: list[Leaf], width: int, depth: int) -> str:
        a, b = self.vector(leaves, width, depth), self.vector(leaves, width, depth)
        return f"(tanh({a}) {self.rng.choice('⊙*')} {b})"

    def _scaled(self, leaves: list[Leaf], width: int, depth: int) -> str:
        factor = self.rng.choice(["0.5", "(1 - 0.25)", "2", "1e-1"])
        return f"{factor} * {self.vector(leaves, width, depth)}"

    def _divide(self, leaves: list[Leaf], width: int, depth: int) -> str:
        a, b = self.vector(leaves, width, depth), self.vector(leaves, width, depth)
        return f"({a} / (1.5 + {b} * {b}))" if self._short(b) else f"({a} / (2 + tanh({b})))"

    def _short(self, text: str) -> bool:
        # What chance gives twice is not a square, and could meet the pole.
        return len(text) < 20 and not any(c in text for c in ("drop", "variational", "zoneout"))

    def _negate(self, leaves: list[Leaf], width: int, depth: int) -> str:
        return f"(-{self.vector(leaves, width, depth)})"

    def _concatenation(self, leaves: list[Leaf], width: int, depth: int) -> str:
        parts = self.rng.sample(leaves, self.rng.randint(1, min(3, len(leaves))))
        joined = " ; ".join(leaf.text for leaf in parts)
        total = sum(leaf.width for leaf in parts)
        if total == width and not any(leaf.symbol for leaf in parts):
            return f"[{joined}]"
        # `V [x]` would be a time, were V a variable.
        whole = f"([{joined}])" if len(parts) == 1 else f"[{joined}]"
        return self.matrix(Leaf(whole, total), width)

    def _dot(self, leaves: list[Leaf], width: int, depth: int) -> str:
        real = [leaf for leaf in leaves if not leaf.symbol]
        if not real:
            return self.affine(leaves, width)
        leaf = self.rng.choice(real)
        number = f"dot({leaf.text}, {self.affine(leaves, leaf.width)})"
        if self.rng.random() < 0.4:
            number = f"0.3 * sum({leaf.text})"
        return f"tanh({number}) * {self.vector(leaves, width, depth)}"

    def _softmax(self, leaves: list[Leaf], width: int, depth: int) -> str:
        return f"softmax({self.vector(leaves, width, depth)})"

    def _stopgrad(self, leaves: list[Leaf], width: int, depth: int) -> str:
        return f"stopgrad({self.vector(leaves, width, depth)})"

    def _layernorm(self, leaves: list[Leaf], width: int, depth: int) -> str:
        g = self.fresh("g")
        self.parameters.append(f"param {g}: vector, constant(1)")
        return f"layernorm({self.affine(leaves, width)}, {g}, {self.fresh('b')})"

    def _rmsnorm(self, leaves: list[Leaf], width: int, depth: int) -> str:
        g = self.fresh("g")
        self.parameters.append(f"param {g}: vector, uniform(0.5, 1.5)")
        return f"rmsnorm({self.affine(leaves, width)}, {g})"

    def _lp(self, leaves: list[Leaf], width: int, depth: int) -> str:
        rho = self.fresh("rho")
        self.parameters.append(f"param {rho}: vector, constant(1)")
        inner = self.affine(leaves, 2 * width)
        return f"lp(2, {inner}, {rho})"

    def _maxout(self, leaves: list[Leaf], width: int, depth: int) -> str:
        k = self.rng.randint(2, 3)
        return f"maxout({k}, {self.affine(leaves, k * width)})"

    def _diagonal(self, leaves: list[Leaf], width: int, depth: int) -> str:
        u = self.fresh("u")
        self.parameters.append(f"param {u}: {self.rng.choice(['diagonal', 'vector'])}")
        if self.parameters[-1].endswith("diagonal"):
            fitting = [leaf.text for leaf in leaves if leaf.width == width and not leaf.symbol]
            return f"{u} {fitting[0]}" if fitting else f"{u} ({self.affine(leaves, width)})"
        return f"{u} ⊙ {self.vector(leaves, width, depth)}"

    def _dropout(self, leaves: list[Leaf], width: int, depth: int) -> str:
        return f"dropout(0.3, {self.vector(leaves, width, depth)})"

    def _variational(self, leaves: list[Leaf], width: int, depth: int) -> str:
        return f"variational(0.25, {self.vector(leaves, width, depth)})"

    def _zoneout(self, leaves: list[Leaf], width: int, depth: int) -> str:
        new, old = self.vector(leaves, width, depth), self.affine(leaves, width)
        return f"zoneout(0.2, {new}, {old})"

    def _operator(self, leaves: list[Leaf], width: int, depth: int) -> str:
        pattern, widths, result = self.rng.choice(self.operators)
        operands = [self._operand(leaves, width) for width in widths]
        applied = pattern.format(*operands)
        return applied if result == width else self.matrix(Leaf(applied, result), width)

    def _operand(self, leaves: list[Leaf], width: int) -> str:
        fitting = [leaf.text for leaf in leaves if leaf.width == width and not leaf.symbol]
        return self.rng.choice(fitting) if fitting else f"({self.affine(leaves, width)})"
