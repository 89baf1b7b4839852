"""The last steps of building: sizes settled, parameters and variables given their final form."""

from __future__ import annotations

from dataclasses import replace

from rnnc.grammar.diagnostics.suggestions import shown
from rnnc.grammar.source import Span
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
    """The graph of a model whose equations have all been evaluated; None after an error."""
    assembly, report = evaluator.builder, evaluator.report
    try:
        assembly.sizes.solve()
    except SizeConflictError as conflict:
        report.error(
            "RNN301",
            f"the parts of a vector of {conflict.left} add up to {conflict.right}",
            next((o.span for o in conflict.origins if o), span),
            hint="the sizes of the parts of `[a ; b]` add up to the size of the whole",
        )
    # What a broken line would have said of a size is unknown, so none is asked for.
    if report.has_errors or evaluator.scope.poisoned_names:
        return None
    values = _output_operands(variables, predictions)
    roots = [v.node for v in variables.values() if v.node >= 0]
    roots += [operand.node for operand in values.values()]
    roots += [operand.node for _, *sides in laws for operand in sides]
    needed = assembly.reachable_nodes([*roots, *(term.operand.node for term in terms)])
    _check_sizes_inferred(evaluator, needed)
    if report.has_errors:
        return None
    drafts = {number: assembly.sized_node(number) for number in sorted(needed)} if terms else {}
    late = partition_loss_nodes(drafts, terms, assembly.target_nodes, list(values.values()))
    nodes, renumbered, applications = assembly.build(
        roots + [operand.node for operand in late.inputs]
    )
    parameters = [
        finalize_parameter(draft, assembly.sizes, report)
        for draft in assembly.parameter_table.parameters.values()
        if draft.node in needed
    ]
    if report.has_errors:
        return None

    def renew(operand: Operand) -> Operand:
        return Operand(renumbered[operand.node], operand.delay)

    outputs = tuple(
        _build_output(variables[name], renew(operand), _output_span(variables[name], predictions))
        for name, operand in values.items()
    )
    renewed = tuple(replace(law, left=renew(a), right=renew(b)) for law, a, b in laws)
    reads = [operand for node in nodes for operand in node.operands]
    reads += [output.value for output in outputs]
    reads += [side for law in renewed for side in (law.left, law.right)]
    reads += [renew(operand) for number in late.window_nodes for operand in drafts[number].operands]
    kept = tuple(renew(operand) for operand in late.inputs)
    reads += kept
    delays: dict[int, list[int]] = {}
    for operand in reads:
        delays.setdefault(operand.node, []).append(operand.delay)
    states = tuple(
        State(
            v.name,
            v.type,
            renumbered[v.node],
            v.initial_value,
            _state_delay(delays, renumbered[v.node]),
        )
        for v in variables.values()
        if v.role == "state"
    )
    inputs = tuple(
        Input(v.name, v.type, renumbered[v.node], max(delays.get(renumbered[v.node], [0])))
        for v in variables.values()
        if v.role == "input"
    )
    parameters += [
        _initial_value_parameter(state, nodes[state.node].span)
        for state in states
        if state.has_learned_initial_value
    ]
    losses = build_loss_graph(name, drafts, late, terms, variables, parameters) if terms else None
    return OperatorGraph(
        name,
        nodes,
        inputs,
        states,
        outputs,
        tuple(parameters),
        applications,
        renewed,
        kept,
        losses,
    )


def _output_operands(
    variables: dict[str, Variable], predictions: Predictions
) -> dict[str, Operand]:
    """What a model gives, by the name of the output or of the predicted input."""
    values: dict[str, Operand] = {}
    for variable in variables.values():
        if variable.role == "output" and isinstance(variable.value, Vector):
            values[variable.name] = variable.value.operand
        elif variable.name in predictions:
            values[variable.name] = predictions[variable.name][0].operand
    return values


def _output_span(variable: Variable, predictions: Predictions) -> Span | None:
    """The right side of the equation that gives an output or a prediction."""
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
    """How far back a state is read; negative, how far ahead; 1 where only its new value is."""
    read = delays.get(node, [])
    return min(read) if read and min(read) < 0 else max([1, *read])


def _check_sizes_inferred(evaluator: Evaluator, reachable: set[int]) -> None:
    """Report each group of sizes that nothing determines, once, naming what to annotate."""
    sizes, report = evaluator.sizes, evaluator.report
    named: dict[int, tuple[str, Span]] = {}
    assembly = evaluator.builder
    for name, value, place in assembly.named_values:
        if isinstance(value, Vector):
            named.setdefault(sizes.find_root(value.size), (name, place))
    reported: set[int] = set()
    for draft in assembly.parameter_table.parameters.values():
        if draft.node not in reachable:
            continue
        dims = [draft.rows] if draft.form in {"vector", "diagonal"} else [draft.rows, draft.columns]
        for dim in dims:
            root = sizes.find_root(dim)
            if sizes.value(dim) is not None or root in reported:
                continue
            reported.add(root)
            local = named.get(root)
            hint = "annotate the vector that it belongs to: `z: real[400] = …`"
            if local is not None:
                hint = f"annotate it: `{local[0]}: real[400] = …`"
            what = f"the size of `{local[0]}`" if local else f"a size of `{draft.name}`"
            meant = _suggest_function(draft.name)
            if meant and not local:
                hint = f"`{draft.name}` is taken for a weight matrix; the function is `{meant}`"
            place = user_span(draft.span, draft.application, assembly.applications)
            if place is not draft.span and not local:
                what = f"a size of `{draft.name}` of `{shown(draft.operator or '')}`"
                hint = "give its result a name and a size: `z: real[400] = …`"
            report.error(
                "RNN303",
                f"{what} cannot be inferred",
                local[1] if local else place,
                "nothing says how wide it is",
                hint=hint,
            )


def _suggest_function(name: str) -> str:
    close = [f for f in RESERVED_FUNCTIONS if f.replace("_", "") == name.lower().replace("_", "")]
    return close[0] if close else ""
