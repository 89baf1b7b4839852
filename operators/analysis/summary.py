"""Summarize a model in numbers: the document that `rnnc inspect --json` prints."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from rnnc.grammar.symbols import display_name
from rnnc.operators.graph.operator_graph import OperatorGraph

from .depth import measure_depth


def summarize(graph: OperatorGraph) -> dict[str, Any]:
    """Return inputs, states, outputs, parameters and depths of a model as JSON values."""
    measures = measure_depth(graph)
    skip = measures.skip_coefficient
    return {
        "model": graph.name,
        "inputs": [{"name": i.name, "type": str(i.type)} for i in graph.inputs],
        "states": [{"name": s.name, "type": str(s.type), "delay": s.delay} for s in graph.states],
        "outputs": [
            {"name": o.name, "type": str(o.type)}
            | ({"at_end": True} if o.at_end else {})
            | ({"unscored": True} if o.unscored else {})
            for o in graph.outputs
        ],
        "parameters": {
            "total": sum(p.numel for p in graph.parameters),
            "weights": sum(p.numel for p in graph.parameters if p.is_matrix),
            "tensors": [
                {
                    "name": p.name,
                    "shape": list(p.shape),
                    "operator": display_name(p.operator) if p.operator else None,
                    "init": ", ".join(map(str, p.initializers)),
                    "frozen": p.is_frozen,
                }
                for p in graph.parameters
            ],
        },
        "depth": {
            "input_to_hidden": measures.input_to_hidden,
            "hidden_to_hidden": measures.hidden_to_hidden,
            "hidden_to_output": measures.hidden_to_output,
            "recurrent": _json_number(measures.recurrent_depth),
            "feedforward": _json_number(measures.feedforward_depth),
            "skip_coefficient": "inf" if skip is None else _json_number(skip),
        },
    }


def _json_number(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)
