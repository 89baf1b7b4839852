# ruff: noqa: E501
"""Texts of any kind, broken, long, deep or large, give diagnostics alone, and soon."""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rnnc.grammar.diagnostics.diagnostic import Diagnostic
from rnnc.grammar.diagnostics.render import render_json, render_text
from rnnc.grammar.source import Source
from rnnc.operators.analyze import check_models
from rnnc.operators.graph.operator_graph import OperatorGraph
from support.generator import random_spec
from support.processes.commands import run


def examine(text: str) -> tuple[tuple[OperatorGraph, ...], tuple[Diagnostic, ...]]:
    """Check a text; whatever comes of it is well formed."""
    source = Source(text)
    graphs, diagnostics = check_models(source)
    failed = any(d.severity == "error" for d in diagnostics)
    assert failed or graphs or "operator" in source.text, "neither a graph nor an error"
    for diagnostic in diagnostics:
        assert re.fullmatch(r"RNN\d\d\d", diagnostic.code)
        assert not diagnostic.code.startswith("RNN9"), diagnostic
        assert diagnostic.message
        assert render_text(diagnostic)
        assert diagnostic.span is not None
        if diagnostic.span.source is source:
            assert 0 <= diagnostic.span.start <= diagnostic.span.end <= len(source.text)
    for place in render_json(diagnostics)["diagnostics"]:
        assert isinstance(place["line"], int)
        assert isinstance(place["column"], int)
        assert place["line"] >= 1
        assert place["column"] >= 1
    for graph in graphs:
        assert graph.to_text()
    return graphs, diagnostics


TOKENS = [
    "input", "state", "output", "operator", "model", "use", "from", "param", "law", "loss", "for",
    "if", "else", "in", "at", "end", "weight", "and", "not", "real", "binary", "symbol", "x", "h",
    "y", "z", "W", "U", "b", "t", "x'", "h'", "h[t-1]", "x[t-2]", "[t..t]", "h[t-9..t]", "1", "0",
    "-1", "2.5", "1e9", "99999999999999", "..", ",", ";", ":", "=", "==", "<=", "+", "-", "*", "/",
    "//", "%", "**", "⊙", "⊕", "(+)", "⊕₁", "▷", "|>", "⊗_l", "z_{l-1}", "h_l", "W^T", "Wᵀ", "(",
    ")", "[", "]", "_{", "}", "'", "≈", "~=", "tanh", "σ", "softmax", "dropout", "maxout", "lp",
    "split", "zoneout", "layernorm", "sum", "learned", "uniform", "frozen", "blocks", "vector",
    "diagonal", "\n", "\n", "\n", "\n    ", "\n    ", "\n        ", "\n\t", " ", "#", "é", "½", "\u0301",
    "\u200b", "\ufeff", "\u2028", "\x0c", "\x85", "🙂", "²", "₀", "ⅷ", "ﬁ",
]  # fmt: skip


@given(st.text(max_size=120))
@example("\u2028input x: real")
@example("x₁₂'₃ = ½")
def test_any_text(text: str) -> None:
    examine(text)


@given(st.lists(st.sampled_from(TOKENS), max_size=30))
def test_any_tokens(tokens: list[str]) -> None:
    examine(" ".join(tokens))


@given(st.lists(st.sampled_from(TOKENS), max_size=12))
def test_any_right_side(tokens: list[str]) -> None:
    examine(f"input x: real[3]\nstate h: real[3]\nh' = {' '.join(tokens)}\nx' = ▷ h'\n")


def mutations(text: str, rng: random.Random) -> str:
    """Return a text with a few of its pieces deleted, doubled, exchanged or replaced."""
    pieces = re.findall(r"\w+|\s+|[^\w\s]", text)
    for _ in range(rng.randint(1, 4)):
        i, j = rng.randrange(len(pieces)), rng.randrange(len(pieces))
        match rng.randrange(6):
            case 0:
                del pieces[i]
            case 1:
                pieces.insert(i, pieces[j])
            case 2:
                pieces[i], pieces[j] = pieces[j], pieces[i]
            case 3:
                pieces[i] = rng.choice(TOKENS)
            case 4:
                pieces.insert(i, rng.choice(TOKENS))
            case _:
                whole = "".join(pieces)
                index = rng.randrange(len(whole))
                pieces = re.findall(r"\w+|\s+|[^\w\s]", whole[:index] + whole[index + 1 :]) or ["x"]
    return "".join(pieces)


@pytest.mark.parametrize("block", range(8))
def test_mutated_specs(block: int) -> None:
    for seed in range(40 * block, 40 * block + 40):
        rng = random.Random(seed)
        examine(mutations(random_spec(seed % 90).text, rng))


def test_truncated_specs() -> None:
    for seed in range(12):
        text = random_spec(seed).text
        for stop in range(0, len(text), max(1, len(text) // 12)):
            examine(text[:stop])
            examine(text[stop:])


HEAD = "input x: real[3]\nstate h: real[3]\nx' = ▷ h'\n"


def nested_for(depth: int) -> str:
    lines = [f"{'    ' * i}for i{i} in 1..9:" for i in range(depth)]
    return HEAD + "\n".join([*lines, f"{'    ' * depth}z = x", "h' = x ⊕ h", ""])


def doubling(levels: int) -> str:
    """f_k uses f_{k-1} twice: a body of 2**levels operations."""
    lines = ["operator f0(a) = tanh(W a)"]
    lines += [f"operator f{k}(a) = f{k - 1}(f{k - 1}(a) + a)" for k in range(1, levels + 1)]
    return "\n".join(lines) + f"\n{HEAD}h' = f{levels}(x + h)\n"


BOMBS: dict[str, Callable[[], str]] = {
    "parentheses": lambda: f"{HEAD}h' = {'(' * 5000}x{')' * 5000}\n",
    "open parentheses": lambda: f"{HEAD}h' = {'(' * 5000}x\n",
    "closed parentheses": lambda: f"{HEAD}h' = x{')' * 5000}\n",
    "ninety parentheses": lambda: f"{HEAD}h' = {'(' * 90}x + h{')' * 90}\n",
    "brackets": lambda: f"{HEAD}h' = {'[' * 5000}x{']' * 5000}\n",
    "calls": lambda: f"{HEAD}h' = {'tanh(' * 5000}x{')' * 5000}\n",
    "prefix": lambda: f"{HEAD}h' = {'▷ ' * 5000}x\n",
    "minus": lambda: f"{HEAD}h' = {'-' * 5000}x + h\n",
    "sum": lambda: f"{HEAD}h' = {' + '.join(['x'] * 5000)} + h\n",
    "products": lambda: f"{HEAD}h' = {' * '.join(['x'] * 5000)} + h\n",
    "matrices": lambda: f"{HEAD}h' = {'W ' * 5000}h + x\n",
    "infix": lambda: f"{HEAD}h' = {' ⊕ '.join(['x'] * 5000)} ⊕ h\n",
    "powers": lambda: f"{HEAD}state g: real[{'2**' * 3000}1]\nh' = x ⊕ h\n",
    "tower": lambda: f"{HEAD}state g: real[9**9**9]\nh' = x ⊕ h\ng' = g\n",
    "not": lambda: f"{HEAD}if {'not ' * 5000}1:\n    h' = x ⊕ h\n",
    "and": lambda: f"{HEAD}if {'1 and ' * 5000}1:\n    h' = x ⊕ h\n",
    "names": lambda: f"{HEAD}h' = {'z' * 100_000} + h\n",
    "subscripts": lambda: f"{HEAD}h' = z{'_1' * 20_000} + h\n",
    "computed subscripts": lambda: f"{HEAD}h' = z{'_{1}' * 20_000} + h\n",
    "nested subscripts": lambda: f"{HEAD}h' = {'z_{' * 3000}1{'}' * 3000} + h\n",
    "arguments": lambda: f"{HEAD}h' = tanh({', '.join(['x'] * 5000)})\n",
    "concatenation": lambda: f"{HEAD}h' = W [{' ; '.join(['x'] * 5000)}] + h\n",
    "tuple": lambda: f"{HEAD}({', '.join(f'z{i}' for i in range(5000))}) = x\nh' = x ⊕ h\n",
    "split": lambda: f"{HEAD}(a, c) = split(x, {', '.join(['1'] * 5000)})\nh' = x ⊕ h\n",
    "declarations": lambda: f"state {', '.join(f'z{i}' for i in range(5000))}: real[3]\n{HEAD}",
    "blocks": lambda: "\n".join(f"{' ' * i}if 1:" for i in range(3000)) + f"\n{HEAD}",
    "nested for": lambda: nested_for(6),
    "deep for": lambda: nested_for(90),
    "long for": lambda: f"{HEAD}h' = x ⊕ h\nfor l in 1..999999999999:\n    z_l = x\n",
    "empty long for": lambda: f"{HEAD}h' = x ⊕ h\nfor l in 1..999999999999:\n    if 0:\n        z = x\n",
    "for in operator": lambda: (
        f"{HEAD}operator x ⊕ h:\n    for l in 1..99999999:\n        z_l = x\n    h\nh' = x ⊕ h\n"
    ),
    "recursion": lambda: f"{HEAD}operator x ⊕ h = x ⊕ h\nh' = x ⊕ h\n",
    "mutual recursion": lambda: (
        f"{HEAD}operator f(a) = g(a)\noperator g(a) = f(a)\noperator x ⊕ h = f(x)\nh' = x ⊕ h\n"
    ),
    "instances in a circle": lambda: f"{HEAD}operator ⊕ = f\noperator f = ⊗\noperator ⊗ = f\nh' = x ⊕ h\n",
    "doubling": lambda: doubling(20),
    "chain of operators": lambda: (
        "\n".join(f"operator f{k}(a) = f{k + 1}(a)" for k in range(3000))
        + f"\noperator f3000(a) = a\n{HEAD}h' = f0(x) + h\n"
    ),
    "template of templates": lambda: (
        "\n".join(f"operator f{k} = f{k + 1}" for k in range(3000))
        + f"\noperator f3000(a) = a\n{HEAD}h' = f0(x) + h\n"
    ),
    "digits": lambda: f"{HEAD}h' = {'9' * 5000} * x + h\n",
    "decimals": lambda: f"{HEAD}h' = 0.{'9' * 5000} * x + h\n",
    "exponent": lambda: f"{HEAD}h' = 1e999999999 * x + h\n",
    "long index": lambda: f"{HEAD}h' = z_{'9' * 5000} + h\n",
    "long subscript": lambda: f"{HEAD}h' = z{'₉' * 5000} + h\n",
    "size": lambda: f"{HEAD}state g: real[{'9' * 30}]\nh' = x ⊕ h\ng' = g\n",
    "large sizes": lambda: (
        "input x: real[100000000]\nstate h: real[100000000]\nh' = x ⊕ h\nx' = ▷ h'\n"
    ),
    "delay": lambda: f"{HEAD}h' = x ⊕ h[t-999999999999]\n",
    "window": lambda: f"{HEAD}h' = x ⊕ h\nz = softmax(h[t-999999999..t-1] x)\n",
    "groups": lambda: f"{HEAD}h' = maxout(999999999, W x) + h\n",
    "blocks of a matrix": lambda: f"{HEAD}param W: blocks(999999999)\nh' = W x + h\n",
    "locals in a row": lambda: (
        HEAD + "z0 = x\n" + "\n".join(f"z{i} = tanh(z{i - 1})" for i in range(1, 5000)) + "\nh' = z4999 ⊕ h\n"
    ),
    "locals in reverse": lambda: (
        HEAD + "h' = z0 ⊕ h\n" + "\n".join(f"z{i} = tanh(z{i + 1})" for i in range(5000)) + "\nz5000 = x\n"
    ),
    "cycle of locals": lambda: (
        HEAD + "h' = z0 ⊕ h\n" + "\n".join(f"z{i} = z{(i + 1) % 3000}" for i in range(3000)) + "\n"
    ),
    "cycle of states": lambda: (
        HEAD + "h' = x ⊕ h\n" + "\n".join(
            f"state g{i}: real\ng{i}' = tanh(g{(i + 1) % 1000}')" for i in range(1000)) + "\n"
    ),
    "mistakes": lambda: HEAD + "h' = x ⊕ h\n" + "\n".join(f"z{i} = oops{i}" for i in range(3000)),
    "broken lines": lambda: HEAD + "h' = x ⊕ h\n" + "\n".join(") × (" for _ in range(3000)),
    "one long line": lambda: HEAD + "h' = x ⊕ h #" + "x" * 2_000_000,
    "blank lines": lambda: HEAD + "\n" * 1_000_000 + "h' = x ⊕ h\n",
    "parameters": lambda: (
        f"model m({', '.join(f'p{i} = {i}' for i in range(3000))}):\n"
        + "".join(f"    {line}\n" for line in [*HEAD.splitlines(), "h' = x ⊕ h"])
    ),
    "definition chain": lambda: (
        "model m(p0 = 1, "
        + ", ".join(f"p{i} = p{i - 1} * 2" for i in range(1, 200))
        + "):\n"
        + "".join(f"    {line}\n" for line in [*HEAD.splitlines(), "h' = x ⊕ h"])
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_end_soon(name: str) -> None:
    text = BOMBS[name]()
    start = time.process_time()
    examine(text)
    assert time.process_time() - start < 20  # seconds; they take one or two


def test_bombs_take_little_memory() -> None:
    limit = 2**30
    program = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
from rnnc.grammar.source import Source
from rnnc.operators.analyze import check_models
for text in sys.stdin.read().split("\\0"):
    print(len(check_models(Source(text))[1]))
"""
    names = ["doubling", "long for", "sum", "nested for", "large sizes", "names", "blank lines"]
    text = "\0".join(BOMBS[name]() for name in names)
    result = run([sys.executable, "-c", program], stdin=text.encode())
    assert result.returncode == 0, result.stderr[-2000:]
    assert len(result.stdout.split()) == len(names)


def test_what_is_not_a_bomb_passes() -> None:
    for name in ("ninety parentheses", "sum", "locals in a row", "locals in reverse", "doubling"):
        text = doubling(8) if name == "doubling" else BOMBS[name]()
        graphs, diagnostics = examine(text)
        assert graphs, (name, [render_text(d)[:300] for d in diagnostics[:2]])


def test_a_crash_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The examination itself: a place outside of the text, or an internal code, is caught."""
    diagnostic = examine("input x: real")[1][0]
    assert diagnostic.code == "RNN114"
    for bad_code in ("RNN901", "X", ""):
        bad = Diagnostic(bad_code, "m", label=diagnostic.label)
        monkeypatch.setitem(
            examine.__globals__, "check_models", lambda source, bad=bad: ((), (bad,))
        )
        with pytest.raises(AssertionError):
            examine("x")


@pytest.mark.parametrize(
    "line",
    [
        "z = {}",
        "z: real[3] = {}",
        "z = [x ; {}]",
        "z = f({}, n = {})",
        "z = -{} ** {}",
        "z: real[{}]",
        "{} = x",
        "law {} ≈ {} weight {}",
        "loss {}",
        "if {} > 1:\n    z = x",
        "for i in {}..{}:\n    z = x",
        "h'_{{{}}} = x",
        "operator a ⊕ b:\n    {}",
    ],
)
def test_a_range_of_times_that_stands_alone(line: str) -> None:
    examine("input x: real[3]\n" + line.format(*["[t-9..t]"] * line.count("{}")) + "\n")
