"""Generate broken specs for fuzzing: from grammar tokens, from lines, from bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from signal import ITIMER_PROF, SIGPROF, setitimer, signal
from types import FrameType

from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.grammar.diagnostics.render import render_json, render_text
from rnnc.grammar.formatter import format_source
from rnnc.operators.analyze import check
from rnnc.operators.sources.spec_file import decode_spec
from support.fuzzing.token_mutations import SYMBOLS, WORDS, ZOO, mutate
from support.generator import random_spec

SECONDS = 5.0
NAMES = [
    "x",
    "h",
    "h_1",
    "h₁",
    "z_l",
    "z_{l-1}",
    "W",
    "Wᵀ",
    "b",
    "U_1",
    "f",
    "σ",
    "x'",
    "h'",
    "y",
    "t",
]
NUMBERS = [
    "0",
    "1",
    "2",
    "3",
    "88",
    "0.5",
    "1e-3",
    "1e308",
    "9" * 13,
    "9" * 50,
    "2**63",
    "-1",
    "1/0",
]
STATEMENTS = [
    "input x: {t}", "state h: {t}", "state h_l: {t} = {e}", "output y: {t} at end", "h' = {e}",
    "x' = {e}", "y = {e}", "z = {e}", "h[t] = {e}", "(h', c') = {e}", "z: {t} = {e}", "{e}",
    "operator x ⊕ h = {e}", "operator ▷ h = {e}", "operator f(x, n = 2) = {e}", "operator ⊕ = {n}",
    "operator x ⊗ (h, c):\n    {n} = {e}\n    ({e}, {e})", "param W: {a}",
    "law {e} ≈ {e} weight {e}",
    "loss {e} weight {e}", "for l in {e}..{e}:\n    {n} = {e}", "use lstm from gated",
    "if {e} > {e}:\n    z = {e}\nelse:\n    z = {e}",
    "model m(n = {e}):\n    input x: {t}\n    x' = {e}",
]  # fmt: skip
TYPES = ["real[3]", "binary[3]", "symbol[5]", "real", "real[{e}]", "real[3, 4]"]
ANNOTATIONS = ["orthogonal", "sparse({e})", "uniform({e}, {e})", "frozen", "diagonal", "real[3, 3]"]
EXPRESSIONS = [
    "{n}", "{n}", "{n}", "{e} + {e}", "{e} ⊙ {e}", "{n} {e}", "tanh({e})", "({e})", "[{e} ; {e}]",
    "({e}, {e})", "{e} ⊕ {e}", "▷ {e}", "{d}", "-{e}", "{n}[t-{d}]", "{n}[t-2..t]", "f({e}, {e})",
    "softmax({e})", "maxout({d}, {e})", "split({e}, {d}, 1)", "{e} / {e}", "{d}**{d}", "{e} ⊗₁ {e}",
    "dropout(0.5, {e})", "lp(2, {e}, {e})",
]  # fmt: skip


class Hang(Exception):
    """Checking a spec took too long."""


def broken_spec(seed: int) -> bytes:
    """Generate a text that may be invalid: a third each from grammar, lines and bytes."""
    chance = random.Random(seed)
    kind = seed % 3
    if kind == 0:
        return _spec_from_grammar(chance).encode()
    if kind == 1:
        return _spec_from_lines(chance).encode()
    return _spec_from_bytes(chance, seed)


def check_robustness(data: bytes) -> None:
    """Read, check, render and format a text; only diagnostics or a result may follow.

    Raises:
        Hang: after five seconds of processor time; other exceptions pass through.
    """
    with _time_limit():
        try:
            source = decode_spec(data, "fuzz.rnn", None)
        except RnnError as error:
            _render(error)
            return
        diagnostics = check(source)
        render_json(diagnostics)
        for diagnostic in diagnostics:
            render_text(diagnostic)
        try:
            text = format_source(source)
        except RnnError as error:
            _render(error)
            return
        formatted = decode_spec(text.encode(), "fuzz.rnn", None)
        assert format_source(formatted) == text
        plain = format_source(formatted, ascii_only=True)
        assert format_source(decode_spec(plain.encode(), "fuzz.rnn", None)) == text


def _render(error: RnnError) -> None:
    assert error.diagnostics
    render_json(error.diagnostics)
    str(error)


@contextmanager
def _time_limit() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang

    before = signal(SIGPROF, stop)
    setitimer(ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        setitimer(ITIMER_PROF, 0)
        signal(SIGPROF, before)


def _spec_from_grammar(chance: random.Random) -> str:
    lines = ["input x: real[3]", "state h: real[3]", "h' = x ⊕ h", "x' = ▷ h'"]
    for _ in range(chance.randint(1, 6)):
        lines.insert(
            chance.randint(0, len(lines)), _fill_template(chance.choice(STATEMENTS), chance, 0)
        )
    if chance.random() < 0.2:
        del lines[chance.randrange(len(lines))]
    return "\n".join(lines)


def _fill_template(template: str, chance: random.Random, depth: int) -> str:
    """Fill the gaps of a template, more simply with depth."""
    parts = []
    index = 0
    while index < len(template):
        gap = template[index : index + 3]
        if gap in {"{e}", "{n}", "{d}", "{t}", "{a}"}:
            index += 3
            choices = {
                "e": EXPRESSIONS if depth < chance.randint(1, 6) else NAMES[:3],
                "n": NAMES, "d": NUMBERS, "t": TYPES, "a": ANNOTATIONS,
            }[gap[1]]  # fmt: skip
            chosen = chance.choice(choices)
            parts.append(chosen if choices is NAMES else _fill_template(chosen, chance, depth + 1))
        else:
            parts.append(template[index])
            index += 1
    return "".join(parts)


def _spec_from_lines(chance: random.Random) -> str:
    """Mix lines of valid specs, with tokens inserted and indentation changed."""
    one = random_spec(chance.randrange(10_000)).text.split("\n")
    other = chance.choice(ZOO).read_text(encoding="utf-8").split("\n")
    lines = one if chance.random() < 0.5 else other
    for _ in range(chance.randint(1, 5)):
        place = chance.randrange(len(lines))
        match chance.randrange(5):
            case 0:
                lines[place] = chance.choice(one + other)
            case 1:
                lines.insert(place, chance.choice(one + other))
            case 2:
                words = lines[place].split(" ")
                words.insert(chance.randint(0, len(words)), chance.choice(SYMBOLS + WORDS))
                lines[place] = " ".join(words)
            case 3:
                lines[place] = " " * chance.randint(0, 9) + lines[place].strip()
            case _:
                del lines[place]
                lines = lines or [""]
    return "\n".join(lines)


def _spec_from_bytes(chance: random.Random, seed: int) -> bytes:
    if chance.random() < 0.2:
        return chance.randbytes(chance.randint(0, 300))
    data = bytearray(mutate(seed).text.encode())
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                data[place:place] = chance.randbytes(chance.randint(1, 4))
            case 1:
                del data[place : place + chance.randint(1, 20)]
            case 2:
                data[place:place] = data[place : place + chance.randint(1, 60)] * 2
            case _:
                filler = chance.choice(
                    ["(", "⊕", "\n", "\t", "\0", "₁", "'", "\u0301", "\u202e", "[t"]
                )
                data[place:place] = (filler * chance.choice([1, 1, 1, 200])).encode()
    return bytes(data)
