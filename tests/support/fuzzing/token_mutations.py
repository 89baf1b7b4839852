"""Single-token mutations of valid specs, as typing mistakes."""

from __future__ import annotations

import random
from dataclasses import dataclass

from rnnc.grammar.diagnostics.diagnostic import Diagnostic
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.logical_lines import LogicalLine, split_logical_lines
from rnnc.grammar.parser import tokenize
from rnnc.grammar.source import Source
from rnnc.operators.analyze import check
from rnnc.operators.graph.user_spans import LIBRARY
from support.generator import Spec, random_spec

ZOO = sorted(LIBRARY.with_name("zoo").glob("*.rnn"))
SYMBOLS = [*"⊕▷⊗=+-*⊙()[],:;'×@", ".."]
WORDS = ["state", "input", "h", "W", "b", "tanh", "foo", "3", "0.5", "t", "for", "real"]


@dataclass(frozen=True)
class Mutation:
    """A spec with one token changed, and the change."""

    text: str
    line: int
    before: str
    after: str
    sizes: dict[str, int]
    original: Source


@dataclass(frozen=True)
class MutationResult:
    """The diagnostics of a mutated spec: their number, and the first one's location."""

    mutation: Mutation
    diagnostics: int
    on_line: bool


def valid_spec(seed: int) -> Spec:
    """Return a zoo model or a random spec."""
    if seed % 2:
        return random_spec(seed)
    return Spec(seed, ZOO[seed // 2 % len(ZOO)].read_text(encoding="utf-8"))


def mutate(seed: int) -> Mutation:
    """Delete, double, replace, misspell or swap one token of a valid spec, or insert one."""
    chance = random.Random(seed)
    spec = valid_spec(seed)
    source = Source(spec.text)
    tokens = [
        token
        for line in _flatten_lines(split_logical_lines(source, Report()))
        for token in tokenize(line.span)
    ]
    index = chance.randrange(len(tokens))
    token = tokens[index]
    start, end = token.start_pos or 0, token.end_pos or 0
    before = source.text[start:end]
    kind = chance.choice(["delete", "double", "replace", "misspell", "swap", "insert"])
    after = before
    if kind == "swap" and index + 1 < len(tokens):
        following = tokens[index + 1]
        if source.position(following.start_pos or 0)[0] == source.position(start)[0]:
            between = source.text[end : following.start_pos]
            after = str(following) + between + before
            end = following.end_pos or end
            before = source.text[start:end]
    elif kind == "double":
        after = f"{before} {before}"
    elif kind == "replace":
        after = chance.choice(SYMBOLS + WORDS)
    elif kind == "insert":
        after = f"{before} {chance.choice(SYMBOLS + WORDS)} "
    elif kind == "misspell" and len(before) > 1 and before.isalpha():
        place = chance.randrange(len(before))
        after = before[:place] + chance.choice("aeinorst") + before[place + 1 :]
    else:
        after = ""
    changed = source.text[:start] + after + source.text[end:]
    return Mutation(changed, source.position(start)[0], before, after, spec.sizes, source)


def check_mutation(mutation: Mutation) -> MutationResult:
    """Check a mutated spec; ignore notes, and diagnostics of the original."""
    source = Source(mutation.text, "mutated.rnn")
    before = {(d.code, d.message) for d in check(mutation.original, parameters=mutation.sizes)}
    diagnostics = [
        d
        for d in check(source, parameters=mutation.sizes)
        if d.severity != "note" and (d.code, d.message) not in before
    ]
    if not diagnostics:
        return MutationResult(mutation, 0, True)
    places = [diagnostics[0].span, *(label.span for label in diagnostics[0].related)]
    lines = {p.source.position(p.start)[0] for p in places if p and p.source is source}
    is_there = mutation.line in lines or _mentions_mutation(diagnostics[0], mutation)
    return MutationResult(mutation, len(diagnostics), is_there)


def _mentions_mutation(diagnostic: Diagnostic, mutation: Mutation) -> bool:
    """Test that a message names the token that the mutation removed or inserted."""
    words = {w for w in (mutation.before.strip(), mutation.after.strip()) if w.isidentifier()}
    return any(f"`{word}" in diagnostic.message + diagnostic.hint for word in words)


def _flatten_lines(lines: list[LogicalLine]) -> list[LogicalLine]:
    return [item for line in lines for item in (line, *_flatten_lines(line.block))]
