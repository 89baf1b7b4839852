"""The last steps of building: sizes settled, parameters and variables given their final form."""

from __future__ import annotations

from dataclasses import replace

from ..grammar.source import Span
from .evaluate import Evaluator
from .graph import Call, Input, Law, Operand, OperatorGraph, Output, Parameter, State
from .parameters import Draft
from .scope import Variable
from .types import MATRIX_LIMIT, Conflict
from .values import Vector

Predictions = dict[str, tuple[Vector, Span, Span]]


def finish(
    name: str,
    evaluator: Evaluator,
    variables: dict[str, Variable],
    predictions: Predictions,
    laws: list[tuple[Law, Operand, Operand]],
    span: Span,
) -> OperatorGraph | None:
    """The graph of a model whose equations have all been evaluated; None after an error."""
    assembly, report = evaluator.assembly, evaluator.report
    try:
        assembly.sizes.solve()
    except Conflict as conflict:
        report.error(
            "RNN301",
            f"the parts of a vector of {conflict.left} add up to {conflict.right}",
            next((o.span for o in conflict.origins if o), span),
        )
    if report.failed:
        return None
    roots = [v.node for v in variables.values() if v.node >= 0]
    roots += [vector.operand.node for vector, _, _ in predictions.values()]
    roots += [
        variable.value.operand.node
        for variable in variables.values()
        if variable.role == "output" and isinstance(variable.value, Vector)
    ]
    roots += [operand.node for _, *sides in laws for operand in sides]
    _demand_known_sizes(evaluator, assembly.needed(roots))
    if report.failed:
        return None
    nodes, renumbered, applications = assembly.finish(roots)
    parameters = [
        _parameter(draft, evaluator)
        for draft in assembly.parameters.drafts.values()
        if draft.node in renumbered
    ]
    states = [v for v in variables.values() if v.role == "state"]
    parameters += [
        Parameter(
            f"init.{state.name}",
            (state.type.size,),
            "vector",
            (Call("constant", (0.0,)),),
            False,
            0.0,
            None,
            state.span,
        )
        for state in states
        if state.initial.kind == "learned"
    ]
    if report.failed:
        return None

    def renew(operand: Operand) -> Operand:
        return Operand(renumbered[operand.node], operand.delay)

    delays: dict[int, list[int]] = {}
    for node in nodes:
        for operand in node.operands:
            delays.setdefault(operand.node, []).append(operand.delay)
    outputs: list[Output] = []
    for variable in variables.values():
        if variable.role == "output":
            assert isinstance(variable.value, Vector)
            value = renew(variable.value.operand)
            outputs.append(Output(variable.name, variable.type, value, variable.at_end, None))
        elif variable.name in predictions:
            value = renew(predictions[variable.name][0].operand)
            outputs.append(Output(f"{variable.name}'", variable.type, value, False, variable.name))
        else:
            continue
        delays.setdefault(value.node, []).append(value.delay)
    for _, *sides in laws:
        for operand in sides:
            delays.setdefault(renumbered[operand.node], []).append(operand.delay)
    return OperatorGraph(
        name,
        nodes,
        tuple(
            Input(v.name, v.type, renumbered[v.node], max(delays.get(renumbered[v.node], [0])))
            for v in variables.values()
            if v.role == "input"
        ),
        tuple(
            State(v.name, v.type, renumbered[v.node], v.initial, _delay(delays, renumbered[v.node]))
            for v in states
        ),
        tuple(outputs),
        tuple(parameters),
        applications,
        tuple(replace(law, left=renew(a), right=renew(b)) for law, a, b in laws),
    )


def _delay(delays: dict[int, list[int]], node: int) -> int:
    """How far back a state is read; negative, how far ahead; 1 where only its new value is."""
    read = delays.get(node, [])
    return min(read) if read and min(read) < 0 else max([1, *read])


def _demand_known_sizes(evaluator: Evaluator, needed: set[int]) -> None:
    """Report each group of sizes that nothing determines, once, naming what to annotate."""
    sizes, report = evaluator.sizes, evaluator.report
    named: dict[int, tuple[str, Span]] = {}
    assembly = evaluator.assembly
    for name, value, place in assembly.locals:
        if isinstance(value, Vector):
            named.setdefault(sizes.root(value.size), (name, place))
    reported: set[int] = set()
    for draft in assembly.parameters.drafts.values():
        if draft.node not in needed:
            continue
        dims = [draft.rows] if draft.form in {"vector", "diagonal"} else [draft.rows, draft.columns]
        for dim in dims:
            root = sizes.root(dim)
            if sizes.value(dim) is not None or root in reported:
                continue
            reported.add(root)
            local = named.get(root)
            hint = "annotate the vector that it belongs to: `z: real[400] = …`"
            if local is not None:
                hint = f"annotate it: `{local[0]}: real[400] = …`"
            what = f"the size of `{local[0]}`" if local else f"a size of `{draft.name}`"
            report.error(
                "RNN303",
                f"{what} cannot be inferred",
                local[1] if local else draft.span,
                "nothing says how wide it is",
                hint=hint,
            )


def _parameter(draft: Draft, evaluator: Evaluator) -> Parameter:
    sizes, report = evaluator.sizes, evaluator.report
    said = draft.annotations
    rows, columns = sizes.value(draft.rows) or 1, sizes.value(draft.columns) or 1
    shape: tuple[int, ...]
    match draft.form:
        case "vector" | "diagonal":
            shape = (rows,)
        case "matrix":
            shape = (rows, columns)
        case "blocks":
            k = said.groups
            if rows % k or columns % k:
                report.error(
                    "RNN309",
                    f"`{draft.name}` is {rows} by {columns} and does not fall into {k} blocks",
                    said.span,
                )
            shape = (k, rows // k, columns // k)
    count = 1
    for size in shape:
        count *= size
    if count > MATRIX_LIMIT:
        report.error(
            "RNN308",
            f"`{draft.name}` would hold {count:,} numbers",
            draft.span,
            hint=f"the limit is {MATRIX_LIMIT:,}",
        )
    for call in said.initial:
        if call.name == "radius" and (len(shape) != 2 or rows != columns):
            report.error("RNN309", f"`{draft.name}` is not square and has no `radius`", said.span)
        if call.name in {"sparse", "orthogonal", "scale"} and len(shape) < 2:
            report.error(
                "RNN309", f"`{draft.name}` is a vector; `{call.name}` is for matrices", said.span
            )
        if call.name == "sparse" and len(shape) >= 2 and call.arguments[0] > shape[-1]:
            report.error(
                "RNN309",
                f"`{draft.name}` has {shape[-1]} columns, fewer than `{call}` asks for",
                said.span,
            )
        if call.name == "uniform" and not call.arguments[0] < call.arguments[1]:
            report.error("RNN309", f"nothing lies in `{call}`", said.span)
    initial = said.initial or _default_initial(draft)
    if not any(c.name in _DRAWS for c in initial):
        initial = (*_default_initial(draft), *initial)
    return Parameter(
        draft.path,
        shape,
        draft.form,
        initial,
        said.frozen,
        said.weightdrop,
        draft.operator,
        draft.span,
    )


_DRAWS = frozenset({"orthogonal", "normal", "uniform", "constant", "glorot"})


def _default_initial(draft: Draft) -> tuple[Call, ...]:
    """Matrices as Glorot and Bengio (2010) draw them, vectors zero, diagonals uniform in (0, 1)."""
    if draft.form == "diagonal":
        return (Call("uniform", (0.0, 1.0)),)
    if draft.form == "vector":
        return (Call("constant", (0.0,)),)
    return (Call("glorot"),)
