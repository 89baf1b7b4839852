"""A failing spec and call, made as small as they can be while they fail in the same way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from rnnc.grammar import syntax
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.parser import parse
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from support.generator.calls import CallConfig, simplify_call

FailureFunction = Callable[[str, Mapping[str, int], CallConfig], str | None]
"""In which way a spec and a call fail; None where they do not."""


@dataclass(frozen=True)
class Case:
    """What is made smaller."""

    text: str
    sizes: Mapping[str, int]
    call: CallConfig


def shrink_case(case: Case, describe_failure: FailureFunction, budget: int = 600) -> Case:
    """The smallest case found within a number of tries."""
    wanted = describe_failure(case.text, case.sizes, case.call)
    assert wanted is not None, "what does not fail cannot be made smaller"
    left = budget

    def still(candidate: Case) -> bool:
        nonlocal left
        if left <= 0 or not is_valid(candidate.text, candidate.sizes):
            return False
        left -= 1
        return describe_failure(candidate.text, candidate.sizes, candidate.call) == wanted

    changed = True
    while changed and left > 0:
        changed = False
        for candidates in (_simpler_calls, _without_lines, _simpler_expressions, _smaller_sizes):
            case, better = _shrink_greedily(case, candidates, still)
            changed |= better
    return case


def _shrink_greedily(
    case: Case, candidates: Callable[[Case], Iterator[Case]], still: Callable[[Case], bool]
) -> tuple[Case, bool]:
    """Take the first candidate that still fails, again and again."""
    better, again = False, True
    while again:
        again = False
        for candidate in candidates(case):
            if still(candidate):
                case, better, again = candidate, True, True
                break
    return case, better


def is_valid(text: str, sizes: Mapping[str, int]) -> bool:
    """Whether a spec can be compiled as far as `check` tells."""
    try:
        return analyze(Source(text), parameters=dict(sizes)).graph is not None
    except Exception:
        return False


def _simpler_calls(case: Case) -> Iterator[Case]:
    for calling in simplify_call(case.call):
        yield Case(case.text, case.sizes, calling)


def _blocks(lines: list[str]) -> list[tuple[int, int]]:
    """Every line with the lines that are indented below it."""
    found: list[tuple[int, int]] = []
    for at, line in enumerate(lines):
        end = at + 1
        depth = len(line) - len(line.lstrip())
        while end < len(lines) and len(lines[end]) - len(lines[end].lstrip()) > depth:
            end += 1
        found.append((at, end))
    return found


def _without_lines(case: Case) -> Iterator[Case]:
    lines = [line for line in case.text.split("\n") if line.strip()]
    blocks = _blocks(lines)
    names = {line.split(" = ")[0].strip().split(":")[0] for line in lines}
    for start, end in sorted(blocks, key=lambda block: block[0] - block[1]):
        kept = lines[:start] + lines[end:]
        yield Case("\n".join([*kept, ""]), case.sizes, case.call)
        # A variable and all that sets it go together.
        declared = re.match(r"\s*(?:state|output|input) (\w+):", lines[start])
        if declared and declared[1] not in names - {declared[1]}:
            own = re.compile(rf"\s*{declared[1]}(?:'|\[t(?:\+1)?\])? = ")
            rest = [line for line in kept if not own.match(line)]
            yield Case("\n".join([*rest, ""]), case.sizes, case.call)
    for at, line in enumerate(lines):
        # A local is read where it stood.
        local = re.match(r"\s*(\w+)(?:: [^=]*)? = (.*)", line)
        if local and local[1] not in {"h", "y"}:
            name, value = local[1], local[2]
            rest = [
                re.sub(rf"(?<![\w.]){name}(?![\w'\[])", lambda _, v=value: f"({v})", other)  # type: ignore[misc]
                for other in lines[:at] + lines[at + 1 :]
            ]
            yield Case("\n".join([*rest, ""]), case.sizes, case.call)


def _simpler_expressions(case: Case) -> Iterator[Case]:
    """Each expression with one of its own parts in its place, or a variable."""
    for start, end, parts in _expressions(case.text):
        whole = case.text[start:end]
        for part in parts:
            if part != whole and len(part) < len(whole):
                yield Case(case.text[:start] + part + case.text[end:], case.sizes, case.call)


def _expressions(text: str) -> list[tuple[int, int, list[str]]]:
    """The places of all expressions, largest first, and what may stand there instead."""
    found: list[tuple[int, int, list[str]]] = []
    waiting: list[object] = [parse(Source(text), Report())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, tuple):
            waiting += node
        elif hasattr(node, "__dataclass_fields__"):
            if isinstance(node, _COMPOSITE_NODES):
                parts = _part_texts(node)
                found.append((node.span.start, node.span.end, parts))
            waiting += [getattr(node, name) for name in node.__dataclass_fields__ if name != "span"]
    return sorted(found, key=lambda item: item[0] - item[1])


_COMPOSITE_NODES = (
    syntax.Run, syntax.Chain, syntax.Prefix, syntax.Infix, syntax.Concatenation,
    syntax.Parentheses, syntax.Timed, syntax.Primed,
)  # fmt: skip


def _part_texts(node: object) -> list[str]:
    """The texts of an expression's parts, and of the expression with one part left out."""
    match node:
        case syntax.Chain(first, rest):
            parts = [first.span.text, *(part.span.text for _, part in rest)]
            if len(rest) > 1:
                for drop in range(len(rest)):
                    kept = [item for at, item in enumerate(rest) if at != drop]
                    parts.append(
                        " ".join([first.span.text, *(f"{s} {p.span.text}" for s, p in kept)])
                    )
        case syntax.Run(items):
            parts = [item.span.text for item in items]
            parts += [a.span.text for i in items if isinstance(i, syntax.Parentheses)
                      for a in i.arguments]  # fmt: skip
            parts += [" ".join(i.span.text for i in items[1:])] if len(items) > 2 else []
        case syntax.Parentheses(arguments):
            parts = [argument.span.text for argument in arguments] if len(arguments) == 1 else []
        case syntax.Concatenation(values):
            parts = [value.span.text for value in values]
            if len(values) > 2:
                parts += [
                    f"[{' ; '.join(v.span.text for v in values if v is not out)}]" for out in values
                ]
        case syntax.Prefix(_, operand):
            parts = [operand.span.text]
        case syntax.Infix(_, operands):
            parts = [operand.span.text for operand in operands]
        case syntax.Timed(name) | syntax.Primed(name):
            parts = [name.span.text]
        case _:
            parts = []
    composed = [f"({part})" if " " in part and part[0] not in "[(" else part for part in parts]
    return [*parts, *(part for part in composed if part not in parts)]


def _smaller_sizes(case: Case) -> Iterator[Case]:
    """Every width that is written, smaller, everywhere at once."""
    for size in sorted(
        {int(n) for n in re.findall(r"\[(\d+)\]|, (\d+)\]", case.text) for n in n if n}
    ):
        for smaller in range(1, size):
            text = re.sub(rf"(?<=[\[ ]){size}(?=[\],])", str(smaller), case.text)
            if text != case.text:
                yield Case(text, case.sizes, case.call)


def format_test(case: Case, backend: str, options: Mapping[str, object]) -> str:
    """A test that fails as the case does."""
    plain, said = CallConfig(), []
    for name in case.call.__dataclass_fields__:
        value = getattr(case.call, name)
        if value != getattr(plain, name):
            said.append(f"{name}={value!r}")
    more = f", sizes={dict(case.sizes)!r}" if case.sizes else ""
    more += "".join(f", {name}={value!r}" for name, value in options.items())
    return f'''from support.comparison.cases import assert_call_agrees
from support.generator.calls import CallConfig

SPEC = """
{case.text.strip()}
"""


def test_what_the_search_found() -> None:
    assert_call_agrees(SPEC, CallConfig({", ".join(said)}), "{backend}"{more})
'''
