"""Table of all primitive operations: operands, meaning, and source.

`interpreter.py` (the oracle) and the tables of the backends implement them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

ShapeRule = Literal[
    "elementwise",  # operands broadcast; the result is as wide as the widest
    "same",  # as wide as the first operand
    "scalar",  # one number from whole vectors
    "groups",  # (k, z, …): one unit for each group of k entries of z
]


@dataclass(frozen=True, slots=True)
class Primitive:
    """Function of the language.

    `constants` are the leading arguments, which must be numbers: (name, test, requirement).
    """

    name: str
    operands: tuple[str, ...]
    shape_rule: ShapeRule
    meaning: str
    citation: str = ""
    constants: tuple[tuple[str, Callable[[float], bool], str], ...] = ()
    is_random: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def signature(self) -> str:
        """Return the call of the function as a user writes it: `dropout(p, z)`."""
        return f"{self.name}({', '.join([c[0] for c in self.constants] + list(self.operands))})"


def _unary(name: str, meaning: str, source: str = "", aliases: tuple[str, ...] = ()) -> Primitive:
    return Primitive(name, ("z",), "elementwise", meaning, source, aliases=aliases)


def _is_probability(p: float) -> bool:
    return 0 <= p < 1


def _is_group_size(k: float) -> bool:
    return k >= 1 and k == int(k)


_PROBABILITY: Final = (("p", _is_probability, "a probability from 0 to below 1"),)
_GROUP_SIZE: Final = (("k", _is_group_size, "a positive integer"),)

PRIMITIVES: Final[tuple[Primitive, ...]] = (
    _unary("tanh", "(eᶻ − e⁻ᶻ) / (eᶻ + e⁻ᶻ)"),
    _unary("sigmoid", "1 / (1 + e⁻ᶻ)", aliases=("σ",)),
    _unary("relu", "max(z, 0)"),
    _unary("leaky_relu", "z where z > 0, else 0.01 z", "Maas et al. 2013"),
    _unary("elu", "z where z > 0, else eᶻ − 1", "Clevert et al. 2015, arXiv 1511.07289"),
    _unary("gelu", "z Φ(z), Φ the normal distribution function", "arXiv 1606.08415"),
    _unary("silu", "z σ(z)", "arXiv 1702.03118"),
    _unary("softplus", "log(1 + eᶻ)"),
    _unary("softsign", "z / (1 + |z|)"),
    _unary("exp", "eᶻ"),
    _unary("log", "the natural logarithm"),
    _unary("abs", "|z|"),
    _unary("sqrt", "√z"),
    _unary("sin", "the sine"),
    _unary("cos", "the cosine"),
    _unary("identity", "z itself"),
    Primitive("softmax", ("z",), "same", "eᶻ / Σ eᶻ, over the entries of the vector"),
    Primitive(
        "maxout",
        ("z",),
        "groups",
        "the largest of each group of k entries",
        "Goodfellow et al. 2013, arXiv 1302.4389",
        _GROUP_SIZE,
    ),
    Primitive(
        "lp",
        ("z", "ρ"),
        "groups",
        "(mean |z|ᵖ)^(1/p) over each group of k entries, p = 1 + log(1 + e^ρ)",
        "Gulcehre et al. 2014, arXiv 1311.1780, eq. 3",
        _GROUP_SIZE,
    ),
    Primitive(
        "dropout",
        ("z",),
        "same",
        "in training, entries become 0 with probability p and the others grow by 1/(1−p); "
        "a new mask each step",
        "Srivastava et al. 2014",
        _PROBABILITY,
        is_random=True,
    ),
    Primitive(
        "variational",
        ("z",),
        "same",
        "dropout with one mask for a whole call",
        "Gal and Ghahramani 2016, arXiv 1512.05287",
        _PROBABILITY,
        is_random=True,
    ),
    Primitive(
        "zoneout",
        ("new", "old"),
        "same",
        "in training, entries keep their old value with probability p; in evaluation the mean, "
        "p old + (1−p) new",
        "Krueger et al. 2017, arXiv 1606.01305",
        _PROBABILITY,
        is_random=True,
    ),
    Primitive(
        "layernorm",
        ("z", "g", "b"),
        "same",
        "g ⊙ (z − mean z) / √(var z + 1e-5) + b",
        "Ba et al. 2016, arXiv 1607.06450",
    ),
    Primitive(
        "rmsnorm",
        ("z", "g"),
        "same",
        "g ⊙ z / √(mean z² + 1e-5)",
        "Zhang and Sennrich 2019, arXiv 1910.07467",
    ),
    Primitive("sum", ("z",), "scalar", "the sum of the entries"),
    Primitive("dot", ("a", "b"), "scalar", "the scalar product Σ a b"),
    Primitive("stopgrad", ("z",), "same", "z, a constant for gradients"),
)

PRIMITIVES_BY_NAME: Final = {f.name: f for f in PRIMITIVES} | {
    a: f for f in PRIMITIVES for a in f.aliases
}

ARITHMETIC_OPS: Final = {
    "add": "a + b",
    "subtract": "a − b",
    "multiply": "a ⊙ b",
    "divide": "a / b",
    "negate": "−a",
}

STRUCTURAL_OPS: Final = {
    "input": "an input variable, one vector (or symbol) a step",
    "state": "a state variable; its operand is the value coming out of the step",
    "parameter": "a learned or frozen array",
    "constant": "a number, as wide as its node",
    "matmul": "matrix times vector; attribute `transposed`",
    "lookup": "matrix times the one-hot vector of a symbol: a column of the matrix, or zero",
    "concatenate": "the entries of all operands, one after the other",
    "slice": "entries `start` to `stop` (excluded)",
    "onehot": "the one-hot vector of a symbol, zero for no symbol",
}

WINDOW_OPS: Final = {
    "window": "the rows `v[t-first] … v[t-last]` of a variable; attributes `first` and `last`, in "
    "steps back (negative: ahead); its operands are v at both ends. It has no value of its own: "
    "the operations below read it row by row. A row outside of the segment is missing",
    "present": "(window): for each row 1, or 0 where it is missing",
    "scores": "(window, q): for each row its scalar product with q, 0 where it is missing; a row "
    "of a symbol is one-hot: the entry of q at the symbol, 0 for no symbol",
    "matches": "(window of a symbol, s): for each row 1 where it is the symbol s, else 0; missing "
    "rows and no symbol match nothing",
    "mix": "(window, a): Σ aᵢ rowᵢ over the rows that are not missing; of a symbol, the indexed "
    "sum of a into a vector as wide as its symbols",
    "log_mix": "(window of a symbol, l, m): log Σ e^lᵢ rowᵢ over the rows that are not missing "
    "and where m is not 0, −∞ for symbols that none of them holds; m may be left out",
}
"""Operations on windows: attention over the past, without a copy of the window."""

LOG_SPACE_OPS: Final = {
    "masked_softmax": "(z, m): softmax over the entries where m is not 0, and 0 elsewhere; all 0 "
    "where no entry is left",
    "logsumexp": "(z) or (z, m): log Σ eᶻ, over the entries where m is not 0; −∞ for none",
    "logaddexp": "(a, b): log(eᵃ + eᵇ), elementwise and broadcasting; one of them may be −∞",
}
"""Operations of rewritten logarithms of probabilities, which would underflow otherwise."""

RESERVED_FUNCTIONS: Final = frozenset(PRIMITIVES_BY_NAME) | {"split"}
