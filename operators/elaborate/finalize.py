"""Finalize a model: solve its sizes, build its graph, complete parameters and variables."""

from __future__ import annotations

from dataclasses import replace

from rnnc.grammar.source import Span
from rnnc.grammar.symbols import display_name
from rnnc.operators.elaborate.context.scope import Variable
from rnnc.operators.elaborate.context.size_inference import SizeConflictError
from rnnc.operators.elaborate.context.values import Vector
from rnnc.operators.elaborate.expressions.evaluator import Evaluator
from rnnc.operators.graph.operator_graph import (
    Initializer,
    Input,
    Law,
    Operand,
    OperatorGraph,
    Output,
    Parameter,
    State,
)
from rnnc.operators.graph.user_spans import user_span
from rnnc.operators.semantics.primitives import RESERVED_FUNCTIONS

from .finalize_parameters import finalize_parameter
from .loss_terms import LossTerm, build_loss_graph, partition_loss_nodes

Predictions = dict[str, tuple[Vector, Span, Span]]


def finalize_graph(
    name: str,
    evaluator: Evaluator,
    variables: dict[str, Variable],
    predictions: Predictions,
    laws: list[tuple[Law, Operand, Operand]],
    terms: list[LossTerm],
    span: Span,
) -> OperatorGraph | None:
    """Return the graph of a model whose equations are evaluated; None after an error."""
    builder, report = evaluator.builder, evaluator.report
    try:
        builder.sizes.solve()
    except SizeConflictError as conflict:
        report.error(
            "RNN301",
            f"the parts of a vector of {conflict.left} add up to {conflict.right}",
            next((o.span for o in conflict.origins if o), span),
            hint="the sizes of the parts of `[a ; b]` add up to the size of the whole",
        )
    # An unreadable line may determine sizes, so no size is reported as unknown.
    if report.has_errors or evaluator.scope.poisoned_names:
        return None
    values = _output_operands(variables, predictions)
    roots = [v.node for v in variables.values() if v.node >= 0]
    roots += [operand.node for operand in values.values()]
    roots += [operand.node for _, *sides in laws for operand in sides]
    reachable = builder.reachable_nodes([*roots, *(term.operand.node for term in terms)])
    _check_sizes_inferred(evaluator, reachable)
    if report.has_errors:
        return None
    sized_nodes = (
        {number: builder.sized_node(number) for number in sorted(reachable)} if terms else {}
    )
    partition = partition_loss_nodes(
        sized_nodes, terms, builder.target_nodes, list(values.values())
    )
    nodes, new_ids, applications = builder.build(
        roots + [operand.node for operand in partition.inputs]
    )
    parameters = [
        finalize_parameter(parameter, builder.sizes, report)
        for parameter in builder.parameter_table.parameters.values()
        if parameter.node in reachable
    ]
    if report.has_errors:
        return None

    def renumber(operand: Operand) -> Operand:
        return Operand(new_ids[operand.node], operand.delay)

    outputs = tuple(
        _build_output(
            variables[name], renumber(operand), _output_span(variables[name], predictions)
        )
        for name, operand in values.items()
    )
    renumbered_laws = tuple(replace(law, left=renumber(a), right=renumber(b)) for law, a, b in laws)
    all_reads = [operand for node in nodes for operand in node.operands]
    all_reads += [output.value for output in outputs]
    all_reads += [side for law in renumbered_laws for side in (law.left, law.right)]
    all_reads += [
        renumber(operand)
        for number in partition.window_nodes
        for operand in sized_nodes[number].operands
    ]
    loss_inputs = tuple(renumber(operand) for operand in partition.inputs)
    all_reads += loss_inputs
    delays: dict[int, list[int]] = {}
    for operand in all_reads:
        delays.setdefault(operand.node, []).append(operand.delay)
    states = tuple(
        State(
            v.name,
            v.type,
            new_ids[v.node],
            v.initial_value,
            _state_delay(delays, new_ids[v.node]),
        )
        for v in variables.values()
        if v.role == "state"
    )
    inputs = tuple(
        Input(v.name, v.type, new_ids[v.node], max(delays.get(new_ids[v.node], [0])))
        for v in variables.values()
        if v.role == "input"
    )
    parameters += [
        _initial_value_parameter(state, nodes[state.node].span)
        for state in states
        if state.has_learned_initial_value
    ]
    loss_graph = (
        build_loss_graph(name, sized_nodes, partition, terms, variables, parameters)
        if terms
        else None
    )
    return OperatorGraph(
        name,
        nodes,
        inputs,
        states,
        outputs,
        tuple(parameters),
        applications,
        renumbered_laws,
        loss_inputs,
        loss_graph,
    )


def _output_operands(
    variables: dict[str, Variable], predictions: Predictions
) -> dict[str, Operand]:
    """Return the values of outputs and predictions by the name of their variable."""
    values: dict[str, Operand] = {}
    for variable in variables.values():
        if variable.role == "output" and isinstance(variable.value, Vector):
            values[variable.name] = variable.value.operand
        elif variable.name in predictions:
            values[variable.name] = predictions[variable.name][0].operand
    return values


def _output_span(variable: Variable, predictions: Predictions) -> Span | None:
    """Return the right side of the equation of an output or a prediction."""
    prediction = predictions.get(variable.name)
    return prediction[2] if prediction else variable.value_span


def _build_output(variable: Variable, value: Operand, span: Span | None) -> Output:
    if variable.role == "output":
        name, type_, at_end = variable.name, variable.type, variable.at_end
        return Output(name, type_, value, at_end, None, span, variable.unscored)
    return Output(f"{variable.name}'", variable.type, value, False, variable.name, span)


def _initial_value_parameter(state: State, span: Span) -> Parameter:
    zero = (Initializer("constant", (0.0,)),)
    return Parameter(
        f"init.{state.name}", (state.type.size,), "vector", zero, False, 0.0, None, span
    )


def _state_delay(delays: dict[int, list[int]], node: int) -> int:
    """Return the largest delay of a state's reads, or the smallest if one is negative.

    1 for a state that is read within its step alone, since a call hands on its last value.
    """
    node_delays = delays.get(node, [])
    return min(node_delays) if node_delays and min(node_delays) < 0 else max([1, *node_delays])


def _check_sizes_inferred(evaluator: Evaluator, reachable: set[int]) -> None:
    """Report each class of unknown sizes once, with the name to annotate."""
    sizes, report = evaluator.sizes, evaluator.report
    name_of_root: dict[int, tuple[str, Span]] = {}
    builder = evaluator.builder
    for name, value, span in builder.named_values:
        if isinstance(value, Vector):
            name_of_root.setdefault(sizes.find_root(value.size), (name, span))
    reported: set[int] = set()
    for parameter in builder.parameter_table.parameters.values():
        if parameter.node not in reachable:
            continue
        dims = (
            [parameter.rows]
            if parameter.form in {"vector", "diagonal"}
            else [parameter.rows, parameter.columns]
        )
        for dim in dims:
            root = sizes.find_root(dim)
            if sizes.value(dim) is not None or root in reported:
                continue
            reported.add(root)
            local = name_of_root.get(root)
            hint = "annotate the vector that it belongs to: `z: real[400] = …`"
            if local is not None:
                hint = f"annotate it: `{local[0]}: real[400] = …`"
            subject = f"the size of `{local[0]}`" if local else f"a size of `{parameter.name}`"
            function = _suggest_function(parameter.name)
            if function and not local:
                hint = (
                    f"`{parameter.name}` is taken for a weight matrix; the function is `{function}`"
                )
            span = user_span(parameter.span, parameter.application, builder.applications)
            if span is not parameter.span and not local:
                subject = (
                    f"a size of `{parameter.name}` of `{display_name(parameter.operator or '')}`"
                )
                hint = "give its result a name and a size: `z: real[400] = …`"
            report.error(
                "RNN303",
                f"{subject} cannot be inferred",
                local[1] if local else span,
                "nothing says how wide it is",
                hint=hint,
            )


def _suggest_function(name: str) -> str:
    matches = [f for f in RESERVED_FUNCTIONS if f.replace("_", "") == name.lower().replace("_", "")]
    return matches[0] if matches else ""
