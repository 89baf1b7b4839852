"""`format_source`: canonical, idempotent, with all comments, and equivalent to its input."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.formatter import format_source
from rnnc.grammar.parser import parse
from rnnc.grammar.source import Source
from rnnc.grammar.syntax import is_equivalent
from rnnc.operators.analyze import analyze
from rnnc.operators.graph.user_spans import LIBRARY
from support.generator import random_spec

SHIPPED = sorted([*LIBRARY.glob("*.rnn"), *LIBRARY.with_name("zoo").glob("*.rnn")])


def formatted(text: str, *, ascii_only: bool = False) -> str:
    return format_source(Source(text), ascii_only=ascii_only)


def graph(text: str, sizes: dict[str, int] | None = None) -> str:
    text_form = analyze(Source(text), parameters=sizes or {}).require_graph().to_text()
    # Laws and losses quote the spec.
    text_form = re.sub(
        r"^ *output loss .*: real", "output loss: real", text_form, flags=re.MULTILINE
    )
    return re.sub(r"^law .*$", "law", text_form, flags=re.MULTILINE)


def comments(text: str) -> list[str]:
    return [line.partition("#")[2].strip() for line in text.split("\n") if "#" in line]


def check_format(text: str, sizes: dict[str, int] | None = None, *, is_model: bool = True) -> None:
    unicode, plain = formatted(text), formatted(text, ascii_only=True)
    assert formatted(unicode) == formatted(plain) == unicode
    assert formatted(plain, ascii_only=True) == formatted(unicode, ascii_only=True) == plain
    assert comments(text) == comments(unicode) == comments(plain)
    if is_model:
        assert graph(text, sizes) == graph(unicode, sizes) == graph(plain, sizes)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_specs_keep_their_meaning(path: Path) -> None:
    check_format(path.read_text(encoding="utf-8"), is_model=path.parent != LIBRARY)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_specs_are_canonical(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert formatted(text) == text


@pytest.mark.parametrize("seed", range(60))
def test_random_specs_keep_their_meaning(seed: int) -> None:
    spec = random_spec(seed)
    check_format(spec.text, spec.sizes)
    check_format(spec.ascii, spec.sizes)


@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_other_spaces_are_put_right(seed, random):
    """White space between tokens and blank lines do not change the result."""
    text = formatted(random_spec(seed).text)
    lines = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            lines.append(line)
            continue
        code = re.sub(r"(?<=\S) (?=\S)", lambda m: " " * random.randint(1, 3), line)
        code = re.sub(r"([,;])", lambda m: m[1] + " " * random.randint(0, 2), code)
        lines.append(code + " " * random.randint(0, 2))
    assert formatted("\n".join(lines)) == text


EXAMPLES = {
    "spaces": ("h'=tanh(W  h+U x )", "h' = tanh(W h + U x)\n"),
    "call and product": ("h'=tanh (W(a+c))", "h' = tanh(W (a + c))\n"),
    "time": ("h[ t ]=x[t - 2]⊕h[t-1]", "h[t] = x[t-2] ⊕ h[t-1]\n"),
    "window": ("z=M h[t - 9 .. t]", "z = M h[t-9..t]\n"),
    "concatenation": ("z=W[a;c]", "z = W [a ; c]\n"),
    "signs": ("z=-a- -c*(-d)", "z = -a - -c ⊙ (-d)\n"),
    "difference": ("z=W -h", "z = W - h\n"),
    "numbers": ("z=2⊙a*c", "z = 2 * a ⊙ c\n"),
    "subscripts": ("h_1'=W_01 h₁", "h₁' = W₁ h₁\n"),
    "constants": (
        "operator f(z,rate=0.5)=(1-rate)⊙z+rate⊙z*z",
        "operator f(z, rate = 0.5) = (1 - rate) * z + rate * z ⊙ z\n",
    ),
    "subscripts beside computed ones": ("z_{l+1}=z₀+h₁", "z_{l+1} = z_0 + h₁\n"),
    "computed times": ("z=h[t - 2**(l - 1)]", "z = h[t-2**(l-1)]\n"),
    "computed": ("z_{ l - 1 }=W_l h", "z_{l-1} = W_l h\n"),
    "operators": ("z=x(+)_1h", "z = x ⊕₁ h\n"),
    "blank lines": ("a=x\n\n\n\n\nc=x\n\n\n", "a = x\n\n\nc = x\n"),
    "line ends": ("a=x\r\nc=x\r", "a = x\nc = x\n"),
    "byte order mark": ("\ufeffa=x", "a = x\n"),
    "lines in brackets": ("z=tanh(W h\n+U x\n)", "z = tanh(W h\n    + U x\n)\n"),
    "comments": ("#one\n\na=x#two   \n  # three", "# one\n\na = x  # two\n# three\n"),
    "comment in brackets": ("z=(a+ # why\n c)", "z = (a +  # why\n    c)\n"),
    "comment ends a block": (
        "operator ▷ h:\n  z=h\n  z # result\n  # in it\n# out of it\nx'=▷ h'",
        "operator ▷ h:\n    z = h\n    z  # result\n    # in it\n# out of it\nx' = ▷ h'\n",
    ),
    "tabs": ("model m:\n\tz=x\n\t#in\n", "model m:\n    z = x\n    # in\n"),
    "power": ("z=2 ** 3*x", "z = 2**3 * x\n"),
    "law": ("law x(+)h~=h weight 2", "law x ⊕ h ≈ h weight 2\n"),
    "nothing": ("", ""),
    "only comments": ("#a\n#b", "# a\n# b\n"),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name):
    before, after = EXAMPLES[name]
    assert formatted(before) == after
    assert formatted(after) == after


def test_ascii_spells_everything_that_has_a_spelling():
    text = "h₁' = σ(Wᵀ x ⊙ a ⊕₁ ▷ ◁ △ ▽ c)\nz = a ⊗ c\nz = a ⊖ c\nz = a ⊛ c\nz = a ⊞ c\nz = a ⊠ c\n"
    assert formatted(text, ascii_only=True).isascii()
    assert formatted(formatted(text, ascii_only=True)) == text


@pytest.mark.parametrize("text", ["h' = (x", "h' = x @ h", "state h\n", "\tz = x\n  z = x"])
def test_what_cannot_be_parsed_is_an_error(text):
    with pytest.raises(RnnError):
        formatted(text)


def test_a_change_of_meaning_would_be_seen():
    report = Report()
    one, other = (parse(Source(text), report) for text in ("z = a + c", "z = a - c"))
    assert is_equivalent(one, one)
    assert not is_equivalent(one, other)


def test_an_underscore_before_small_digits_takes_one_pass() -> None:
    once = format_source(Source("W_₁ = 3\n"))
    assert once == "W₁ = 3\n"
    assert format_source(Source(once)) == once
