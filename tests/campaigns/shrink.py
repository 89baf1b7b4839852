"""Shrink a failing spec and call while the failure stays the same (delta debugging)."""

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
"""Describes how a spec and a call fail; None if they do not."""


@dataclass(frozen=True)
class Case:
    """A failing spec, its sizes and the call."""

    text: str
    sizes: Mapping[str, int]
    call: CallConfig


def shrink_case(case: Case, describe_failure: FailureFunction, budget: int = 600) -> Case:
    """Return the smallest case found within a number of tries."""
    original_failure = describe_failure(case.text, case.sizes, case.call)
    assert original_failure is not None, "what does not fail cannot be made smaller"
    remaining = budget

    def still_fails(candidate: Case) -> bool:
        nonlocal remaining
        if remaining <= 0 or not is_valid(candidate.text, candidate.sizes):
            return False
        remaining -= 1
        return describe_failure(candidate.text, candidate.sizes, candidate.call) == original_failure

    changed = True
    while changed and remaining > 0:
        changed = False
        for candidates in (_simpler_calls, _without_lines, _simpler_expressions, _smaller_sizes):
            case, better = _shrink_greedily(case, candidates, still_fails)
            changed |= better
    return case


def _shrink_greedily(
    case: Case, candidates: Callable[[Case], Iterator[Case]], still_fails: Callable[[Case], bool]
) -> tuple[Case, bool]:
    """Replace the case by its first failing candidate until there is none."""
    better, changed = False, True
    while changed:
        changed = False
        for candidate in candidates(case):
            if still_fails(candidate):
                case, better, changed = candidate, True, True
                break
    return case, better


def is_valid(text: str, sizes: Mapping[str, int]) -> bool:
    """Test that a spec passes `check`."""
    try:
        return analyze(Source(text), parameters=dict(sizes)).graph is not None
    except Exception:
        return False


def _simpler_calls(case: Case) -> Iterator[Case]:
    for call in simplify_call(case.call):
        yield Case(case.text, case.sizes, call)


def _blocks(lines: list[str]) -> list[tuple[int, int]]:
    """Return the line ranges of each line with its indented block."""
    ranges: list[tuple[int, int]] = []
    for index, line in enumerate(lines):
        end = index + 1
        depth = len(line) - len(line.lstrip())
        while end < len(lines) and len(lines[end]) - len(lines[end].lstrip()) > depth:
            end += 1
        ranges.append((index, end))
    return ranges


def _without_lines(case: Case) -> Iterator[Case]:
    lines = [line for line in case.text.split("\n") if line.strip()]
    blocks = _blocks(lines)
    names = {line.split(" = ")[0].strip().split(":")[0] for line in lines}
    for start, end in sorted(blocks, key=lambda block: block[0] - block[1]):
        remaining = lines[:start] + lines[end:]
        yield Case("\n".join([*remaining, ""]), case.sizes, case.call)
        # Remove a variable with all its equations.
        declaration = re.match(r"\s*(?:state|output|input) (\w+):", lines[start])
        if declaration and declaration[1] not in names - {declaration[1]}:
            assignment = re.compile(rf"\s*{declaration[1]}(?:'|\[t(?:\+1)?\])? = ")
            shortened = [line for line in remaining if not assignment.match(line)]
            yield Case("\n".join([*shortened, ""]), case.sizes, case.call)
    for index, line in enumerate(lines):
        # Inline a local into its readers.
        local = re.match(r"\s*(\w+)(?:: [^=]*)? = (.*)", line)
        if local and local[1] not in {"h", "y"}:
            name, value = local[1], local[2]
            shortened = [
                re.sub(rf"(?<![\w.]){name}(?![\w'\[])", lambda _, v=value: f"({v})", other)  # type: ignore[misc]
                for other in lines[:index] + lines[index + 1 :]
            ]
            yield Case("\n".join([*shortened, ""]), case.sizes, case.call)


def _simpler_expressions(case: Case) -> Iterator[Case]:
    """Yield cases with an expression replaced by one of its parts."""
    for start, end, parts in _expressions(case.text):
        whole = case.text[start:end]
        for part in parts:
            if part != whole and len(part) < len(whole):
                yield Case(case.text[:start] + part + case.text[end:], case.sizes, case.call)


def _expressions(text: str) -> list[tuple[int, int, list[str]]]:
    """Return all expressions, the largest first, with their replacements."""
    replacements: list[tuple[int, int, list[str]]] = []
    waiting: list[object] = [parse(Source(text), Report())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, tuple):
            waiting += node
        elif hasattr(node, "__dataclass_fields__"):
            if isinstance(node, _COMPOSITE_NODES):
                parts = _part_texts(node)
                replacements.append((node.span.start, node.span.end, parts))
            waiting += [getattr(node, name) for name in node.__dataclass_fields__ if name != "span"]
    return sorted(replacements, key=lambda item: item[0] - item[1])


_COMPOSITE_NODES = (
    syntax.Run, syntax.Chain, syntax.Prefix, syntax.Infix, syntax.Concatenation,
    syntax.Parentheses, syntax.Timed, syntax.Primed,
)  # fmt: skip


def _part_texts(node: object) -> list[str]:
    """Return an expression's parts, and the expression without one part."""
    match node:
        case syntax.Chain(first, terms):
            parts = [first.span.text, *(part.span.text for _, part in terms)]
            if len(terms) > 1:
                for drop in range(len(terms)):
                    remaining = [item for index, item in enumerate(terms) if index != drop]
                    parts.append(
                        " ".join([first.span.text, *(f"{s} {p.span.text}" for s, p in remaining)])
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
    """Yield cases with a width replaced everywhere by a smaller one."""
    for size in sorted(
        {int(n) for n in re.findall(r"\[(\d+)\]|, (\d+)\]", case.text) for n in n if n}
    ):
        for smaller in range(1, size):
            text = re.sub(rf"(?<=[\[ ]){size}(?=[\],])", str(smaller), case.text)
            if text != case.text:
                yield Case(text, case.sizes, case.call)


def format_test(case: Case, backend: str, options: Mapping[str, object]) -> str:
    """Format a case as a test that fails."""
    default, call_arguments = CallConfig(), []
    for name in case.call.__dataclass_fields__:
        value = getattr(case.call, name)
        if value != getattr(default, name):
            call_arguments.append(f"{name}={value!r}")
    arguments = f", sizes={dict(case.sizes)!r}" if case.sizes else ""
    arguments += "".join(f", {name}={value!r}" for name, value in options.items())
    return f'''from support.comparison.cases import assert_call_agrees
from support.generator.calls import CallConfig

SPEC = """
{case.text.strip()}
"""


def test_what_the_search_found() -> None:
    assert_call_agrees(SPEC, CallConfig({", ".join(call_arguments)}), "{backend}"{arguments})
'''
