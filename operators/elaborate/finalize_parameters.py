"""Finalize parameters once all sizes are known: shape, initializers, checks of annotations."""

from __future__ import annotations

import math
from typing import Final

from rnnc.grammar.diagnostics.report import Report
from rnnc.operators.elaborate.context.parameters import ANNOTATION_MEANINGS, UnsizedParameter
from rnnc.operators.elaborate.context.size_inference import SizeSolver
from rnnc.operators.graph.operator_graph import Initializer, Parameter
from rnnc.operators.graph.types import MATRIX_LIMIT


def finalize_parameter(unsized: UnsizedParameter, sizes: SizeSolver, report: Report) -> Parameter:
    """Return a parameter with its shape; report annotations that do not fit it (RNN309)."""
    annotations = unsized.annotations
    shape = _infer_shape(unsized, sizes, report)
    count = math.prod(shape)
    if count > MATRIX_LIMIT:
        report.error(
            "RNN308",
            f"`{unsized.name}` would hold {count:,} numbers",
            unsized.span,
            hint=f"the limit is {MATRIX_LIMIT:,}",
        )
    for initializer in annotations.initializers:
        error = _initializer_error(unsized.name, initializer, shape)
        if error:
            report.error(
                "RNN309", error, annotations.span, hint=ANNOTATION_MEANINGS[initializer.name]
            )
    initial = annotations.initializers
    if not any(initializer.name in _BASE_INITIALIZERS for initializer in initial):
        initial = (*_default_initializers(unsized), *initial)
    return Parameter(
        unsized.path,
        shape,
        unsized.form,
        initial,
        annotations.is_frozen,
        annotations.weightdrop,
        unsized.operator,
        unsized.span,
    )


def _infer_shape(unsized: UnsizedParameter, sizes: SizeSolver, report: Report) -> tuple[int, ...]:
    rows, columns = sizes.value(unsized.rows) or 1, sizes.value(unsized.columns) or 1
    if unsized.form in {"vector", "diagonal"}:
        return (rows,)
    if unsized.form == "matrix":
        return (rows, columns)
    k = unsized.annotations.block_count
    if rows % k or columns % k:
        report.error(
            "RNN309",
            f"`{unsized.name}` is {rows} by {columns} and does not fall into {k} blocks",
            unsized.annotations.span,
            hint="the number of blocks divides both sizes",
        )
    return (k, rows // k, columns // k)


def _initializer_error(name: str, initializer: Initializer, shape: tuple[int, ...]) -> str:
    """Return the reason why an initializer does not fit a shape, or an empty string."""
    if initializer.name == "radius" and (len(shape) != 2 or shape[0] != shape[1]):
        return f"`{name}` is not square and has no `radius`"
    if initializer.name in {"sparse", "orthogonal", "scale"} and len(shape) < 2:
        return f"`{name}` is a vector; `{initializer.name}` is for matrices"
    if initializer.name == "sparse" and initializer.arguments[0] > shape[-1]:
        return f"`{name}` has {shape[-1]} columns, fewer than `{initializer}` asks for"
    if initializer.name == "uniform" and not initializer.arguments[0] < initializer.arguments[1]:
        return f"nothing lies in `{initializer}`"
    return ""


_BASE_INITIALIZERS: Final = frozenset({"orthogonal", "normal", "uniform", "constant", "glorot"})


def _default_initializers(unsized: UnsizedParameter) -> tuple[Initializer, ...]:
    """Return Glorot and Bengio's (2010) for matrices, 0 for vectors, (0, 1) for diagonals."""
    if unsized.form == "diagonal":
        return (Initializer("uniform", (0.0, 1.0)),)
    if unsized.form == "vector":
        return (Initializer("constant", (0.0,)),)
    return (Initializer("glorot"),)
