"""Bind the parameters of a model: to arguments, defaults, or (for a check) an assumed size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rnnc.grammar import syntax
from rnnc.grammar.constant_eval import NotConstantError, evaluate_constant, range_error
from rnnc.grammar.diagnostics.diagnostic import Diagnostic, Label
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.diagnostics.suggestions import did_you_mean
from rnnc.grammar.substitution import StaticValue
from rnnc.operators.semantics.primitives import RESERVED_FUNCTIONS

ASSUMED_SIZE: Final = 64
"""Value of a parameter that has none, while a spec is only checked."""


def bind_parameters(
    model: syntax.Model,
    arguments: Mapping[str, StaticValue],
    report: Report,
    *,
    assume_missing: bool = True,
) -> dict[str, StaticValue]:
    """Return the values of a model's parameters: arguments first, then defaults.

    assume_missing: give a parameter without either some size, with a note instead of an error.
    """
    values: dict[str, StaticValue] = {}
    names = [parameter.name.name for parameter in model.parameters]
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
        if name in arguments:
            values[name] = _check_argument(parameter, arguments[name], report)
        elif parameter.default is not None:
            values[name] = _evaluate_default(parameter, values, report)
        else:
            values[name] = ASSUMED_SIZE
            _report_missing(parameter, report, assume_missing=assume_missing)
    for name in arguments:
        if name not in names:
            listing = ", ".join(f"`{k}`" for k in names)
            hint = did_you_mean(name, names) or (
                f"its parameters are {listing}"
                if names
                else (
                    "it has none; write a header: "
                    f"`model {model.name}({name} = {arguments[name]}):`"
                )
            )
            report.error(
                "RNN216", f"model `{model.name}` has no parameter `{name}`", model.span, hint=hint
            )
    return values


def _check_argument(
    parameter: syntax.StaticParameter, value: StaticValue, report: Report
) -> StaticValue:
    reason = "" if isinstance(value, str) else range_error(value)
    if not reason:
        return value
    name = parameter.name.name
    report.error(
        "RNN213",
        f"`{name}` is bound to {value}: {reason}",
        parameter.span,
        hint="the parameters of a model are integers and reals",
    )
    return ASSUMED_SIZE


def _report_missing(
    parameter: syntax.StaticParameter, report: Report, *, assume_missing: bool
) -> None:
    name = parameter.name.name
    report.add(
        Diagnostic(
            "RNN211",
            f"`{name}` has no value"
            + (f", and is taken to be {ASSUMED_SIZE}" if assume_missing else ""),
            "note" if assume_missing else "error",
            Label(parameter.span, "has no default"),
            hint=f"bind it: `--set {name}=…` on the command line, `{name}=…` in Python",
        )
    )


def _evaluate_default(
    parameter: syntax.StaticParameter, values: Mapping[str, StaticValue], report: Report
) -> StaticValue:
    assert parameter.default is not None

    def lookup(name: syntax.Name) -> int | float | None:
        value = values.get(name.name)
        return value if isinstance(value, int | float) else None

    try:
        return evaluate_constant(parameter.default, lookup)
    except NotConstantError as error:
        report.error(
            "RNN213",
            error.reason,
            error.span,
            hint="the parameters of a model are integers and reals",
        )
        return ASSUMED_SIZE
