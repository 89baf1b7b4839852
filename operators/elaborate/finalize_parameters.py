"""Parameters once every size is known: shape, initial value, and what annotations demand."""

from __future__ import annotations

import math
from typing import Final

from rnnc.grammar.diagnostics.report import Report
from rnnc.operators.elaborate.context.parameters import ANNOTATION_MEANINGS, UnsizedParameter
from rnnc.operators.elaborate.context.size_inference import SizeSolver
from rnnc.operators.graph.operator_graph import Initializer, Parameter
from rnnc.operators.graph.types import MATRIX_LIMIT


def finalize_parameter(draft: UnsizedParameter, sizes: SizeSolver, report: Report) -> Parameter:
    """A parameter whose sizes are all known; reports annotations that do not fit them (RNN309)."""
    said = draft.annotations
    shape = _infer_shape(draft, sizes, report)
    count = math.prod(shape)
    if count > MATRIX_LIMIT:
        report.error(
            "RNN308",
            f"`{draft.name}` would hold {count:,} numbers",
            draft.span,
            hint=f"the limit is {MATRIX_LIMIT:,}",
        )
    for call in said.initializers:
        problem = _initializer_error(draft.name, call, shape)
        if problem:
            report.error("RNN309", problem, said.span, hint=ANNOTATION_MEANINGS[call.name])
    initial = said.initializers
    if not any(call.name in _BASE_INITIALIZERS for call in initial):
        initial = (*_default_initializers(draft), *initial)
    return Parameter(
        draft.path,
        shape,
        draft.form,
        initial,
        said.is_frozen,
        said.weightdrop,
        draft.operator,
        draft.span,
    )


def _infer_shape(draft: UnsizedParameter, sizes: SizeSolver, report: Report) -> tuple[int, ...]:
    rows, columns = sizes.value(draft.rows) or 1, sizes.value(draft.columns) or 1
    if draft.form in {"vector", "diagonal"}:
        return (rows,)
    if draft.form == "matrix":
        return (rows, columns)
    k = draft.annotations.block_count
    if rows % k or columns % k:
        report.error(
            "RNN309",
            f"`{draft.name}` is {rows} by {columns} and does not fall into {k} blocks",
            draft.annotations.span,
            hint="the number of blocks divides both sizes",
        )
    return (k, rows // k, columns // k)


def _initializer_error(name: str, call: Initializer, shape: tuple[int, ...]) -> str:
    """Why an initial value cannot be had at a shape, or an empty string."""
    if call.name == "radius" and (len(shape) != 2 or shape[0] != shape[1]):
        return f"`{name}` is not square and has no `radius`"
    if call.name in {"sparse", "orthogonal", "scale"} and len(shape) < 2:
        return f"`{name}` is a vector; `{call.name}` is for matrices"
    if call.name == "sparse" and call.arguments[0] > shape[-1]:
        return f"`{name}` has {shape[-1]} columns, fewer than `{call}` asks for"
    if call.name == "uniform" and not call.arguments[0] < call.arguments[1]:
        return f"nothing lies in `{call}`"
    return ""


_BASE_INITIALIZERS: Final = frozenset({"orthogonal", "normal", "uniform", "constant", "glorot"})


def _default_initializers(draft: UnsizedParameter) -> tuple[Initializer, ...]:
    """Matrices as Glorot and Bengio (2010) draw them, vectors zero, diagonals uniform in (0, 1)."""
    if draft.form == "diagonal":
        return (Initializer("uniform", (0.0, 1.0)),)
    if draft.form == "vector":
        return (Initializer("constant", (0.0,)),)
    return (Initializer("glorot"),)
