"""Build the boxes of inputs, states and outputs, and locations in a spec."""

from __future__ import annotations

from textwrap import dedent

from rnnc.grammar.source import Span
from rnnc.operators.graph.operator_graph import Input, OperatorGraph, Output, State
from rnnc.runtime.diagrams.model.diagram import Box, SourceLocation
from rnnc.runtime.diagrams.model.labels import Label, TextRun, name_label, plain_label

MAX_QUOTED_LINES = 12
"""Lines of a spec that a diagram quotes."""


def source_location(span: Span) -> SourceLocation:
    """Locate a span, with the text of its lines."""
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(max(span.start, span.end))
    last = min(end_line, line + MAX_QUOTED_LINES - 1)
    text = dedent("\n".join(span.source.line(number) for number in range(line, last + 1)))
    return SourceLocation(span.source.name, line, column, end_line, end_column, text)


def variable_boxes(graph: OperatorGraph) -> list[Box]:
    """Build boxes of inputs, states and outputs; outputs have keys `y0`, … and no members."""
    return [
        *(_input_box(graph, variable) for variable in graph.inputs),
        *(_state_box(graph, variable) for variable in graph.states),
        *(_output_box(index, output) for index, output in enumerate(graph.outputs)),
    ]


def node_key(number: int) -> str:
    """Return the key of the box of a node."""
    return f"n{number}"


def _input_box(graph: OperatorGraph, variable: Input) -> Box:
    return Box(
        node_key(variable.node),
        "input",
        name_label(variable.name),
        (type_label(str(variable.type)),),
        members=(variable.node,),
        details=(("input", f"{variable.name}: {variable.type}"),),
        location=source_location(graph.nodes[variable.node].span),
    )


def _state_box(graph: OperatorGraph, variable: State) -> Box:
    direction = "backward in time" if variable.delay < 0 else "forward in time"
    return Box(
        node_key(variable.node),
        "state",
        name_label(variable.name),
        (type_label(str(variable.type)),),
        members=(variable.node,),
        details=(
            ("state", f"{variable.name}: {variable.type}"),
            ("before its segment", str(variable.initial_value)),
            ("runs", direction),
        ),
        location=source_location(graph.nodes[variable.node].span),
    )


def _output_box(index: int, output: Output) -> Box:
    notes: tuple[Label, ...] = (type_label(str(output.type)),)
    details = [("output", f"{output.name}: {output.type}")]
    if output.at_end:
        notes = (*notes, plain_label("at end"))
        details.append(("when", "once, at the end of a sequence"))
    if output.unscored:
        notes = (*notes, plain_label("unscored"))
        details.append(("loss", "none of its own"))
    if output.predicted_input is not None:
        details.append(("predicts", f"the next {output.predicted_input}"))
    return Box(f"y{index}", "output", name_label(output.name), notes, details=tuple(details))


def type_label(text: str) -> Label:
    """Format `binary[88]` as `88 binary`; for real vectors the width alone."""
    kind, _, size = text.rstrip("]").partition("[")
    size = size or "1"
    return (TextRun(size),) if kind == "real" else (TextRun(f"{size} {kind}"),)
