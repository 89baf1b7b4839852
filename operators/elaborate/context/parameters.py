"""Parameters during elaboration: created by name, annotated by `param`, sized by inference."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from rnnc.grammar import syntax
from rnnc.grammar.constant_eval import NotConstantError, evaluate_constant
from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.diagnostics.suggestions import did_you_mean
from rnnc.grammar.source import Span
from rnnc.operators.graph.operator_graph import Initializer

from .size_inference import Dim, SizeOrigin, SizeSolver

ParameterForm = Literal["matrix", "vector", "diagonal", "blocks"]

_BIAS_PATTERN: Final = re.compile(r"b(?:[0-9]*|[^\W\d_]|_.+)|bias.*")
_SUBSCRIPT_SUFFIX: Final = re.compile(r"(?:_[0-9]+)+$")


def is_matrix_name(name: str) -> bool:
    """Return true if an unbound name is a weight matrix: it begins with a capital letter."""
    return name[0].isupper()


def is_bias_name(name: str) -> bool:
    """Return true if an unbound name is a bias: `b`, `b1`, `bi`, `b_in`, `bias…`, subscripted."""
    return _BIAS_PATTERN.fullmatch(_SUBSCRIPT_SUFFIX.sub("", name)) is not None


@dataclass(slots=True)
class ParameterAnnotations:
    """Annotations of one name by `param` lines."""

    span: Span
    form: ParameterForm | None = None
    sizes: tuple[syntax.Expression, ...] | None = None
    block_count: int = 1
    initializers: tuple[Initializer, ...] = ()
    is_frozen: bool = False
    weightdrop: float = 0.0


@dataclass(slots=True, eq=False)
class UnsizedParameter:
    """Parameter with sizes that are not inferred yet; a vector has only `rows`."""

    path: str
    name: str
    form: ParameterForm
    rows: Dim
    columns: Dim
    annotations: ParameterAnnotations
    operator: str | None
    application: int
    span: Span
    node: int = -1


def _is_positive(value: float) -> bool:
    return value > 0


def _is_positive_integer(value: float) -> bool:
    return value >= 1 and value == int(value)


def _accept_any(value: float) -> bool:
    return True


def _is_probability(value: float) -> bool:
    return 0 <= value < 1


# Annotation -> a test for each of its arguments; docs/language.md explains the annotations.
ANNOTATION_ARGUMENTS: Final[dict[str, tuple[Callable[[float], bool], ...]]] = {
    "orthogonal": (),
    "sparse": (_is_positive_integer,),
    "scale": (_is_positive,),
    "radius": (_is_positive,),
    "normal": (_is_positive,),
    "uniform": (_accept_any, _accept_any),
    "constant": (_accept_any,),
    "frozen": (),
    "weightdrop": (_is_probability,),
    "blocks": (_is_positive_integer,),
    "diagonal": (),
    "vector": (),
}

ANNOTATION_MEANINGS: Final[dict[str, str]] = {
    "orthogonal": "starts as a (semi-)orthogonal matrix",
    "sparse": "`sparse(k)`: starts with k non-zero entries in each row",
    "scale": "`scale(s)`: starts with largest singular value s",
    "radius": "`radius(r)`: starts with spectral radius r; the matrix must be square",
    "normal": "`normal(s)`: starts Gaussian with standard deviation s",
    "uniform": "`uniform(a, b)`: starts uniform between a and b",
    "constant": "`constant(c)`: starts as c everywhere",
    "frozen": "is never trained",
    "weightdrop": "`weightdrop(p)`: in training, drops entries with probability p, one mask a call",
    "blocks": "`blocks(k)`: a block-diagonal matrix of k blocks",
    "diagonal": "a diagonal matrix: `u h` is the elementwise product",
    "vector": "a vector, to be used elementwise",
}


def read_annotations(
    statements: Iterable[syntax.Statement], report: Report
) -> dict[str, ParameterAnnotations]:
    """Collect the annotations of a block's `param` lines by name."""
    annotations_by_name: dict[str, ParameterAnnotations] = {}
    for statement in statements:
        if not isinstance(statement, syntax.Parameter):
            continue
        for name in statement.names:
            annotations = annotations_by_name.setdefault(name.name, ParameterAnnotations(name.span))
            for annotation in statement.annotations:
                _apply_annotation(annotations, annotation, name, report)
    return annotations_by_name


def _apply_annotation(
    annotations: ParameterAnnotations,
    annotation: syntax.Type | syntax.Expression,
    name: syntax.Name,
    report: Report,
) -> None:
    if isinstance(annotation, syntax.Type):
        if annotation.kind != "real" or len(annotation.sizes) not in {1, 2}:
            report.error(
                "RNN310",
                f"`{annotation.span.text}` is not the type of a parameter",
                annotation.span,
                hint="a vector is `real[n]`, a matrix `real[rows, columns]`",
            )
            return
        annotations.sizes = annotation.sizes
        annotations.form = annotations.form or (
            "matrix" if len(annotation.sizes) == 2 else "vector"
        )
        return
    rule = _parse_annotation(annotation, report)
    if rule is None:
        return
    match rule.name:
        case "frozen":
            annotations.is_frozen = True
        case "weightdrop":
            annotations.weightdrop = rule.arguments[0]
        case "blocks":
            annotations.form, annotations.block_count = "blocks", int(rule.arguments[0])
        case "diagonal" | "vector":
            annotations.form = "diagonal" if rule.name == "diagonal" else "vector"
        case _:
            annotations.initializers = (*annotations.initializers, rule)


def _parse_annotation(annotation: syntax.Expression, report: Report) -> Initializer | None:
    name: str | None = None
    arguments: tuple[syntax.Argument, ...] = ()
    match annotation:
        case syntax.Name(name=name):
            pass
        case syntax.Run((syntax.Name(name=name), syntax.Parentheses(arguments))):
            pass
        case _:
            pass
    if name not in ANNOTATION_ARGUMENTS:
        report.error(
            "RNN215",
            f"`{annotation.span.text}` is not an annotation of a parameter",
            annotation.span,
            hint=did_you_mean(name or "", ANNOTATION_ARGUMENTS)
            or f"there are: {', '.join(ANNOTATION_ARGUMENTS)}",
        )
        return None
    tests = ANNOTATION_ARGUMENTS[name]
    if len(arguments) != len(tests) or any(a.keyword or a.type for a in arguments):
        expected = f"{len(tests)} argument{'s' if len(tests) != 1 else ''}"
        report.error(
            "RNN207",
            f"`{name}` takes {expected}, and got {len(arguments)}",
            annotation.span,
            hint=ANNOTATION_MEANINGS[name],
        )
        return None
    values: list[float] = []
    for argument, test in zip(arguments, tests, strict=True):
        try:
            value = evaluate_constant(argument.value)
        except NotConstantError as error:
            report.error("RNN213", error.reason, error.span)
            return None
        if not test(value):
            report.error(
                "RNN309",
                f"{value:g} makes no sense in `{name}`",
                argument.span,
                hint=ANNOTATION_MEANINGS[name],
            )
            return None
        values.append(float(value))
    if name == "uniform" and not values[0] < values[1]:
        report.error(
            "RNN309",
            f"nothing lies between {values[0]:g} and {values[1]:g}",
            annotation.span,
            hint="write the smaller number first",
        )
        return None
    return Initializer(name, tuple(values))


@dataclass(slots=True)
class ParameterTable:
    """All parameters of a model, in the order of their first use.

    `uses` lists the operators (None: an equation of the model) that use the model's `param` names.
    """

    sizes: SizeSolver
    report: Report
    parameters: dict[str, UnsizedParameter] = field(default_factory=dict)
    uses: dict[str, list[tuple[str | None, Span]]] = field(default_factory=dict)

    def get_or_create(
        self,
        path: str,
        name: str,
        annotations: ParameterAnnotations | None,
        operator: str | None,
        application: int,
        span: Span,
        resolve_size: Callable[[syntax.Expression], Dim | None],
    ) -> UnsizedParameter:
        """Return the parameter of a name in an operator (or the model).

        It is created at its first use.
        """
        full_name = f"{path}.{name}" if path else name
        if full_name in self.parameters:
            return self.parameters[full_name]
        given_annotations = annotations or ParameterAnnotations(span)
        form: ParameterForm = given_annotations.form or (
            "matrix" if is_matrix_name(name) else "vector"
        )
        rows, columns = self.sizes.new_size(), self.sizes.new_size()
        if form == "diagonal":
            columns = rows
        created = UnsizedParameter(
            full_name, name, form, rows, columns, given_annotations, operator, application, span
        )
        self.parameters[full_name] = created
        self._apply_size_annotation(created, resolve_size)
        return created

    def _apply_size_annotation(
        self, parameter: UnsizedParameter, resolve_size: Callable[[syntax.Expression], Dim | None]
    ) -> None:
        expressions = parameter.annotations.sizes
        if expressions is None:
            return
        dimensions = 2 if parameter.form in {"matrix", "blocks"} else 1
        if len(expressions) != dimensions and not (
            parameter.form == "diagonal" and len(expressions) == 2
        ):
            self.report.error(
                "RNN309",
                f"`{parameter.name}` is a {parameter.form} and has {dimensions} "
                f"size{'s' * (dimensions > 1)}",
                parameter.annotations.span,
            )
            return
        for dim, expression in zip((parameter.rows, parameter.columns), expressions, strict=False):
            size = resolve_size(expression)
            value = None if size is None else self.sizes.value(size)
            if value is not None:
                origin = SizeOrigin(expression.span, f"`{parameter.name}` is annotated here")
                size = self.sizes.constant(value, origin)
            if size is not None:
                self.sizes.unify(dim, size)

    def report_redeclaration(self, name: syntax.Name, first: Span) -> None:
        """Report a parameter whose name is also something else."""
        self.report.error(
            "RNN202",
            f"`{name.name}` is declared twice",
            name.span,
            related=(Label(first, "first here"),),
        )
