"""Parse the `param` annotations that change a parameter's meaning."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from rnnc.grammar import syntax
from support.second_oracle.values import Unsupported

Form = Literal["matrix", "vector", "diagonal", "blocks"]
START_ONLY = frozenset({"orthogonal", "sparse", "scale", "radius", "normal", "uniform", "constant"})
"""Annotations of the initial value."""

TRAINING_ONLY = frozenset({"weightdrop"})
WORDS = {
    "⊕": "plus", "⊗": "times", "⊖": "minus", "⊛": "star", "⊞": "boxplus", "⊠": "boxtimes",
    "▷": "predict", "◁": "left", "△": "up", "▽": "down",
}  # fmt: skip
"""The manual's table: an operator's symbol, and its name in a state_dict."""

_BIAS = re.compile(r"b([0-9]*|[^\W\d_]|_.+)|bias.*")


@dataclass(frozen=True)
class Annotation:
    """The annotated form, if any, and the flag `frozen`."""

    form: Form | None = None
    frozen: bool = False


def annotations_in(statements: Iterable[syntax.Statement]) -> dict[str, Annotation]:
    """Return the annotations of the `param` lines among some statements, by name."""
    annotations: dict[str, Annotation] = {}
    for statement in statements:
        if isinstance(statement, syntax.Parameter):
            for name in statement.names:
                known = annotations.get(name.name, Annotation())
                for annotation in statement.annotations:
                    known = _with(known, annotation)
                annotations[name.name] = known
    return annotations


def _with(known: Annotation, annotation: syntax.Type | syntax.Expression) -> Annotation:
    match annotation:
        case syntax.Type(_, sizes):
            return replace(known, form=known.form or ("vector" if len(sizes) == 1 else "matrix"))
        case syntax.Name("frozen"):
            return replace(known, frozen=True)
        case syntax.Name("vector"):
            return replace(known, form="vector")
        case syntax.Name("diagonal"):
            return replace(known, form="diagonal")
        case syntax.Run((syntax.Name("blocks"), _)):
            return replace(known, form="blocks")
        case syntax.Name(name) | syntax.Run((syntax.Name(name), syntax.Parentheses())) if (
            name in START_ONLY | TRAINING_ONLY
        ):
            return known
        case _:
            raise Unsupported(f"the annotation `{annotation.span.text}`")


def unbound_form(name: str) -> Form | None:
    """Return the form of an unbound name: capitalized ones are matrices, `b…` biases."""
    if name[0].isupper():
        return "matrix"
    stem = re.sub(r"(_[0-9]+)+$", "", name)
    return "vector" if _BIAS.fullmatch(stem) else None


def word_of(operator: str) -> str:
    """Return the name of an operator in a state_dict: `⊕_1` is `plus_1`."""
    return WORDS[operator[0]] + operator[1:] if operator[0] in WORDS else operator
