"""Turn a model's declarations into variables with nodes, types and initial values."""

from __future__ import annotations

from collections.abc import Iterable

from rnnc.grammar import syntax
from rnnc.grammar.constant_eval import NotConstantError, empty_lookup, evaluate_constant
from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.diagnostics.report import Report
from rnnc.operators.elaborate.context.graph_builder import GraphBuilder
from rnnc.operators.elaborate.context.scope import Variable
from rnnc.operators.elaborate.context.size_expressions import evaluate_size
from rnnc.operators.elaborate.context.size_inference import SizeOrigin
from rnnc.operators.graph.operator_graph import InitialValue
from rnnc.operators.graph.types import Type
from rnnc.operators.semantics.primitives import RESERVED_FUNCTIONS


def declare_variables(
    statements: Iterable[syntax.Statement],
    builder: GraphBuilder,
    poisoned: frozenset[str],
    parameter_names: frozenset[str],
) -> dict[str, Variable]:
    """Return the variables of a model by name, each with its node.

    poisoned: names of unreadable lines. parameter_names: names of the model's parameters, which a
    variable cannot have.
    """
    variables: dict[str, Variable] = {}
    report = builder.report
    for statement in statements:
        if not isinstance(statement, syntax.Declaration):
            continue
        type_ = _resolve_type(statement, report, poisoned, parameter_names)
        initial = _resolve_initial_value(statement, report)
        for name in statement.names:
            if not _is_available(name, variables, parameter_names, report):
                continue
            declared_type = type_ or Type("real", 1)
            origin = SizeOrigin(
                statement.type.span, f"`{name.name}` is declared {statement.type.span.text} here"
            )
            size = (
                builder.sizes.constant(declared_type.size, origin)
                if type_ is not None
                else builder.sizes.new_size()
            )
            variable = Variable(
                statement.role,
                name.name,
                declared_type,
                size,
                name.span,
                initial_value=initial,
                at_end=statement.at_end,
                unscored=statement.unscored,
            )
            if statement.role != "output":
                operand = builder.add_node(
                    statement.role, (), size, name.span, (name.name,), deduplicate=False
                )
                variable.node = operand.node
                if declared_type.kind == "symbol":
                    builder.symbol_nodes.add(operand.node)
            variables[name.name] = variable
    return variables


def _is_available(
    name: syntax.Name,
    variables: dict[str, Variable],
    parameter_names: frozenset[str],
    report: Report,
) -> bool:
    if name.name in variables:
        report.error(
            "RNN202",
            f"`{name.name}` is declared twice",
            name.span,
            "again here",
            related=(Label(variables[name.name].span, "first here"),),
            hint="delete one of the two, or give it another name",
        )
        return False
    if name.name in parameter_names:
        report.error(
            "RNN202",
            f"`{name.name}` is a parameter of the model",
            name.span,
            hint="give one of the two another name",
        )
        return False
    if name.name in RESERVED_FUNCTIONS:
        report.error(
            "RNN108",
            f"`{name.span.text}` is a function of the language",
            name.span,
            "cannot be a variable",
            hint=f"choose another name, such as `{name.span.text}_1`",
        )
        return False
    return True


def _resolve_type(
    declaration: syntax.Declaration,
    report: Report,
    poisoned: frozenset[str],
    parameter_names: frozenset[str],
) -> Type | None:
    type_ = declaration.type
    if len(type_.sizes) > 1:
        report.error(
            "RNN310",
            "a variable is a vector and has one size",
            type_.span,
            hint="matrices are parameters: `param W: real[rows, columns]`",
        )
        return None
    if declaration.role == "state" and type_.kind != "real":
        report.error(
            "RNN310",
            f"a state cannot be `{type_.kind}`",
            type_.span,
            hint="states are real vectors: `state h: real[200]`",
        )
        return None
    if type_.kind == "symbol" and not type_.sizes:
        report.error(
            "RNN310",
            "a symbol needs the number of symbols",
            type_.span,
            hint="write `symbol[50]`",
        )
        return None
    if not type_.sizes:
        return Type(type_.kind, 1)
    size = evaluate_size(type_.sizes[0], report, empty_lookup, poisoned, parameter_names)
    return None if size is None else Type(type_.kind, size)


def _resolve_initial_value(declaration: syntax.Declaration, report: Report) -> InitialValue:
    expression = declaration.initial
    match expression:
        case None:
            return InitialValue("constant")
        case syntax.Name("learned"):
            return InitialValue("learned")
        case syntax.Run((syntax.Name("uniform"), syntax.Parentheses((low, high)))):
            values = [_evaluate_number(part.value, report) for part in (low, high)]
            if values[0] is None or values[1] is None:
                return InitialValue("constant")
            if not values[0] < values[1]:
                report.error(
                    "RNN309",
                    f"nothing lies between {values[0]:g} and {values[1]:g}",
                    low.span,
                    hint="write the smaller number first",
                )
            return InitialValue("uniform", values[0], values[1])
        case _:
            value = _evaluate_number(expression, report)
            return InitialValue("constant", value or 0.0, value or 0.0)


def _evaluate_number(expression: syntax.Expression, report: Report) -> float | None:
    try:
        return float(evaluate_constant(expression))
    except NotConstantError as error:
        report.error(
            "RNN109",
            f"`{expression.span.text}` is not an initial value",
            error.span,
            hint="a state begins as a number, as `learned`, or as `uniform(0, 0.1)`",
        )
        return None
