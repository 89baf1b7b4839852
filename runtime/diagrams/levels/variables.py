"""The boxes of inputs, states and outputs, which every level has, and places in a spec."""

from __future__ import annotations

from textwrap import dedent

from rnnc.grammar.source import Span
from rnnc.operators.graph.operator_graph import Input, OperatorGraph, Output, State
from rnnc.runtime.diagrams.model.diagram import Box, Place
from rnnc.runtime.diagrams.model.labels import Label, Run, name, plain

LONGEST_PLACE = 12
"""Lines of a spec that a diagram quotes."""


def place(span: Span) -> Place:
    """Where a span lies, and the lines around it."""
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(max(span.start, span.end))
    last = min(end_line, line + LONGEST_PLACE - 1)
    text = dedent("\n".join(span.source.line(number) for number in range(line, last + 1)))
    return Place(span.source.name, line, column, end_line, end_column, text)


def variable_boxes(graph: OperatorGraph) -> list[Box]:
    """Inputs, states and outputs; outputs have keys `y0`, `y1`, … and no members."""
    return [
        *(_input(graph, variable) for variable in graph.inputs),
        *(_state(graph, variable) for variable in graph.states),
        *(_output(index, output) for index, output in enumerate(graph.outputs)),
    ]


def node_key(number: int) -> str:
    """The key of the box whose value is that of a node."""
    return f"n{number}"


def _input(graph: OperatorGraph, variable: Input) -> Box:
    return Box(
        node_key(variable.node),
        "input",
        name(variable.name),
        (kind_and_size(str(variable.type)),),
        members=(variable.node,),
        details=(("input", f"{variable.name}: {variable.type}"),),
        place=place(graph.nodes[variable.node].span),
    )


def _state(graph: OperatorGraph, variable: State) -> Box:
    direction = "backward in time" if variable.delay < 0 else "forward in time"
    return Box(
        node_key(variable.node),
        "state",
        name(variable.name),
        (kind_and_size(str(variable.type)),),
        members=(variable.node,),
        details=(
            ("state", f"{variable.name}: {variable.type}"),
            ("before its segment", str(variable.initial)),
            ("runs", direction),
        ),
        place=place(graph.nodes[variable.node].span),
    )


def _output(index: int, output: Output) -> Box:
    notes: tuple[Label, ...] = (kind_and_size(str(output.type)),)
    details = [("output", f"{output.name}: {output.type}")]
    if output.at_end:
        notes = (*notes, plain("at end"))
        details.append(("when", "once, at the end of a sequence"))
    if output.unscored:
        notes = (*notes, plain("unscored"))
        details.append(("loss", "none of its own"))
    if output.predicts is not None:
        details.append(("predicts", f"the next {output.predicts}"))
    return Box(f"y{index}", "output", name(output.name), notes, details=tuple(details))


def kind_and_size(text: str) -> Label:
    """`binary[88]` as `88 binary`; of real vectors the width alone."""
    kind, _, size = text.rstrip("]").partition("[")
    size = size or "1"
    return (Run(size),) if kind == "real" else (Run(f"{size} {kind}"),)
