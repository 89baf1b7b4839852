"""The parameters of a model and their values: given, default, or (for a check) assumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rnnc.grammar import syntax
from rnnc.grammar.constant_eval import NotConstant, evaluate, why_absurd
from rnnc.grammar.diagnostics.diagnostic import Diagnostic, Label
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.diagnostics.suggestions import did_you_mean
from rnnc.grammar.expand import Bound
from rnnc.operators.semantics.primitives import RESERVED_FUNCTIONS

ASSUMED_SIZE: Final = 64
"""What a parameter without a value is taken to be while a spec is only checked."""


def bind_parameters(
    model: syntax.Model, given: Mapping[str, Bound], report: Report, *, assume: bool = True
) -> dict[str, Bound]:
    """The values of a model's parameters: given ones, then defaults.

    A parameter without either is assumed to be some size, with a note, when `assume` is set.
    """
    values: dict[str, Bound] = {}
    known = [parameter.name.name for parameter in model.parameters]
    for parameter in model.parameters:
        name = parameter.name.name
        if name in values:
            report.error(
                "RNN202",
                f"`{name}` is a parameter twice",
                parameter.span,
                hint="delete one of the two",
            )
        if name in RESERVED_FUNCTIONS:
            report.error(
                "RNN108",
                f"`{name}` is a function of the language",
                parameter.span,
                "cannot be a parameter",
                hint=f"choose another name, such as `{name}_1`",
            )
        if name in given:
            values[name] = _given(parameter, given[name], report)
        elif parameter.default is not None:
            values[name] = _default(parameter, values, report)
        else:
            values[name] = ASSUMED_SIZE
            _missing(parameter, report, assume=assume)
    for name in given:
        if name not in known:
            listed = ", ".join(f"`{k}`" for k in known)
            hint = did_you_mean(name, known) or (
                f"its parameters are {listed}"
                if known
                else (f"it has none; write a header: `model {model.name}({name} = {given[name]}):`")
            )
            report.error(
                "RNN216", f"model `{model.name}` has no parameter `{name}`", model.span, hint=hint
            )
    return values


def _given(parameter: syntax.StaticParameter, value: Bound, report: Report) -> Bound:
    absurd = "" if isinstance(value, str) else why_absurd(value)
    if not absurd:
        return value
    name = parameter.name.name
    report.error(
        "RNN213",
        f"`{name}` is bound to {value}: {absurd}",
        parameter.span,
        hint="the parameters of a model are integers and reals",
    )
    return ASSUMED_SIZE


def _missing(parameter: syntax.StaticParameter, report: Report, *, assume: bool) -> None:
    name = parameter.name.name
    report.add(
        Diagnostic(
            "RNN211",
            f"`{name}` has no value" + (f", and is taken to be {ASSUMED_SIZE}" if assume else ""),
            "note" if assume else "error",
            Label(parameter.span, "has no default"),
            hint=f"bind it: `--set {name}=…` on the command line, `{name}=…` in Python",
        )
    )


def _default(
    parameter: syntax.StaticParameter, values: Mapping[str, Bound], report: Report
) -> Bound:
    assert parameter.default is not None

    def lookup(name: syntax.Name) -> int | float | None:
        value = values.get(name.name)
        return value if isinstance(value, int | float) else None

    try:
        return evaluate(parameter.default, lookup)
    except NotConstant as error:
        report.error(
            "RNN213",
            error.reason,
            error.span,
            hint="the parameters of a model are integers and reals",
        )
        return ASSUMED_SIZE
