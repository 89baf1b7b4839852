"""Labels and details of operations in a diagram."""

from __future__ import annotations

from typing import Final

from rnnc.operators.graph.operator_graph import Node, OperatorGraph, Parameter
from rnnc.operators.semantics.primitives import ARITHMETIC_OPS, PRIMITIVES_BY_NAME, STRUCTURAL_OPS
from rnnc.runtime.diagrams.model.labels import Label, plain_label

SYMBOLS: Final = {
    "add": "+",
    "subtract": "−",
    "multiply": "⊙",
    "divide": "/",
    "negate": "−",
}
_NAMES: Final = {
    "sigmoid": "σ",
    "matmul": "×",
    "lookup": "row of",
    "concatenate": "[ ; ]",
    "onehot": "one-hot",
}


def function_label(node: Node) -> Label:
    """Return the symbol or name of an operation, with its constants."""
    operation = node.operation
    if operation in SYMBOLS:
        return plain_label(SYMBOLS[operation])
    if operation == "slice":
        return plain_label(f"[{node.attributes[0]}, {node.attributes[1]})")
    if operation == "window":
        first, last = (
            f"t{-int(a):+d}".replace("+0", "").replace("-", "−") for a in node.attributes
        )
        return plain_label(f"{first} … {last}")
    if operation in {"matmul", "lookup"}:
        transposed = "ᵀ" if node.attributes and node.attributes[0] is True else ""
        return plain_label(_NAMES[operation] + transposed)
    text = _NAMES.get(operation, operation.replace("_", " "))
    numbers = [f"{a:g}" for a in node.attributes if isinstance(a, int | float)]
    return plain_label(" ".join([text, *numbers]))


def value_details(graph: OperatorGraph, node: Node) -> tuple[tuple[str, str], ...]:
    """Return the name and width of a value, and the meaning of its operation."""
    details = [("value", node.local_name)] if node.local_name else []
    details.append(("width", f"{node.size:,}"))
    meaning = ARITHMETIC_OPS.get(node.operation) or STRUCTURAL_OPS.get(node.operation, "")
    meaning = meaning.partition("; attribute")[0]
    source = ""
    if node.operation in PRIMITIVES_BY_NAME:
        meaning, source = (
            PRIMITIVES_BY_NAME[node.operation].meaning,
            PRIMITIVES_BY_NAME[node.operation].citation,
        )
    if meaning:
        details.append((node.operation.replace("_", " "), meaning))
    if source:
        details.append(("from", source))
    if node.id in graph.recurrent_nodes:
        details.append(("runs", "one step at a time: it lies on a cycle"))
    return tuple(details)


def parameter_details(parameter: Parameter) -> tuple[tuple[str, str], ...]:
    """Return a parameter's name, shape, size and initializer."""
    shape = " × ".join(map(str, parameter.shape))
    marks = [", ".join(map(str, parameter.initializers))]
    marks += ["frozen"] if parameter.is_frozen else []
    marks += [f"weightdrop {parameter.weightdrop:g}"] if parameter.weightdrop else []
    form = "" if parameter.form in {"matrix", "vector"} else f" {parameter.form}"
    return (
        ("parameter", parameter.name),
        ("shape", f"{shape}{form} = {parameter.numel:,} numbers"),
        ("begins as", ", ".join(marks)),
    )
