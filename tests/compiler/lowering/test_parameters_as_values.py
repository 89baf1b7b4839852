"""Values computed from parameters alone (rate `call`) are allowed wherever a step's value is."""

from __future__ import annotations

from typing import Any

import pytest

import rnnc
from rnnc.compiler.lowering.lower import lower
from rnnc.compiler.passes.canonicalize import canonicalize
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from support.comparison.agreement import assert_agree
from support.comparison.available_backends import AVAILABLE_BACKENDS

OTHERS = [name for name in AVAILABLE_BACKENDS if name != "reference"]
HEAD = """
input x: real[2]
input s: symbol[4]
state h: real[4]
output y: real[4]
param a, a2, a3: vector, real[4]
param p, p2: vector, real[2]
h' = tanh(W h + U x + E s)
M = h[t-3..t-1]
S = s[t-2..t]
param q: vector, real[3]
"""
VALUES = {
    "a parameter": "a",
    "a product": "V a",
    "a product of a product": "V1 tanh(V1 a)",
    "a function": "tanh(a) ⊙ a2",
    "a quotient": "a / (2 + σ(a2))",
    "a difference": "1 - a",
    "its sum": "sum(a) * a2",
    "a dot product": "dot(a, a2) * a3",
    "a concatenation": "[p ; p2]",
    "half a concatenation": "[p ; U2 x]",
    "softmax": "softmax(a)",
    "maxout": "maxout(2, [a ; a2])",
    "lp": "lp(2, [a ; a2], a3)",
    "layernorm": "layernorm(a, a2, a3)",
    "rmsnorm": "rmsnorm(a, a2)",
    "dropout": "dropout(0.4, a)",
    "variational": "variational(0.4, a)",
    "a function of variational": "tanh(V variational(0.4, tanh(a)))",
    "two masks": "variational(0.4, a) - variational(0.3, a2)",
    "zoneout": "zoneout(0.3, a, a2)",
    "zoneout of a state": "zoneout(0.3, a, h)",
    "stopgrad": "a + stopgrad(a2)",
    "a query": "V (M a)",
    "weights": "Mᵀ q",
    "weights of symbols": "V Sᵀ q",
    "a query of symbols": "V (S a)",
    "half a query": "V (M [p ; U2 x])",
}
SPLITS = {
    "a split": "(u, v) = split([a ; W2 h'], 2, 4)\ny = V1 u + V2 v\n",
    "a split of parameters": "(u, v) = split([a ; p], 1, 5)\ny = V1 u + V2 v\n",
    "a split within": "(u, v) = split([tanh(a) ; h'], 3, 5)\ny = V1 u + V2 v\n",
    "a split of dropout": "(u, v) = split(variational(0.4, [a ; p]), 3, 3)\ny = V1 u + V2 v\n",
}
WHOLE = {
    "an output": "y = {}\n",
    "a state": "state g: real[4] = learned\ng' = {}\ny = V g + g[t-2]\n",
    "a state and a cycle": "state g: real[4]\ng' = 0.5 * g + {}\ny = g'\n",
    "a backward state": "state g: real[4]\ng[t] = tanh(R g[t+1]) + {}\ny = g[t+1]\n",
    "a law": "y = h'\nlaw {} ≈ h\n",
    "both sides of a law": "y = h'\nlaw {} ≈ a3\n",
    "a loss term": "y = h'\nloss sum({}) weight 0.3\n",
}
NARROW = """
input x: real[1]
input s: symbol[1]
input r: symbol[3]
state h: real[1]
state c: real[1] = 0.7
state d: real[1] = learned
param a: real[1]
param k: real[3]
h' = tanh(W h + U x)
c' = 0.3
d' = {value}
"""
"""Windows of one row, or of rows of one entry, where a scalar stands for a vector."""
THROUGH = ("h[t-1..t]", "c[t-3..t-1]", "d[t-2..t]", "x[t-1..t]", "s[t-2..t-1]")
ACROSS = ("h[t-1..t-1]", "c[t-2..t-2]", "d[t..t]", "x[t..t]", "r[t-1..t-1]", "r[t..t]")
ALONE = {"a number": "0.1", "a parameter": "a", "made of parameters": "σ(a)"}
CALLS: list[dict[str, Any]] = [
    {"steps": 3, "rows": 2},
    {"steps": 1, "rows": 1, "carry": True, "training": False},
    {"steps": 4, "rows": 3, "ragged": True, "reset": True, "carry": True},
    {"steps": 3, "rows": 2, "ragged": True, "memory": "recompute"},
    {"steps": 0, "rows": 2},
]
SPECS = {
    **{name: HEAD + f"y = {value} + h'\n" for name, value in VALUES.items()},
    **{name: HEAD + lines for name, lines in SPLITS.items()},
    **{
        f"{position} of {name}": HEAD + lines.format(VALUES[name])
        for position, lines in WHOLE.items()
        for name in ("a parameter", "layernorm", "variational", "dropout", "weights")
        # A law has no random mask and no window of its own; a backward state sees no past rows.
        if name != "weights" or not ("law" in position or position == "a backward state")
    },
}


@pytest.mark.parametrize("spec", SPECS)
def test_they_agree_with_the_reference(spec: str) -> None:
    for call in CALLS:
        assert_agree(SPECS[spec], seed=7, **call)


@pytest.mark.parametrize("backend", [name for name in OTHERS if name != "aten"])
def test_on_every_backend(backend: str) -> None:
    each = (v.replace("V", f"V{i}_") for i, v in enumerate(VALUES.values()))
    lines = (f"output y{i}: real[4]\ny{i} = {v} + h'\n" for i, v in enumerate(each))
    for call in CALLS:
        assert_agree(HEAD + "y = h'\n" + "".join(lines), backend, seed=7, **call)


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("kind", ALONE)
def test_every_operand_of_a_window(kind: str, backend: str) -> None:
    value = ALONE[kind]
    lines = [f"M{i} = {window}" for i, window in enumerate((*THROUGH, *ACROSS))]
    for i, _ in enumerate(THROUGH):
        lines += [f"output y{i}: real[1]", f"y{i} = sum(M{i} {value})"]
    for i, window in enumerate(ACROSS, len(THROUGH)):
        lines += [
            f"output y{i}: real[{3 if window.startswith('r') else 1}]",
            f"y{i} = M{i}ᵀ {value}",
        ]
    # The logarithm of a sum whose weights are no vectors either.
    lines += ["output z: real[3]", f"z = log({value} * softmax(k) + M10ᵀ {value})"]
    for call in CALLS:
        assert_agree(NARROW.format(value=value) + "\n".join(lines) + "\n", backend, seed=7, **call)


def test_values_of_parameters_are_computed_once_a_call() -> None:
    graph = analyze(Source(HEAD + SPLITS["a split within"])).graph
    assert graph is not None
    dataflow = canonicalize(lower(graph, training=True))
    function = next(v for v in dataflow.values if v.operation == "tanh" and v.rate == "call")
    users = [dataflow.values[value_id] for value_id in dataflow.users[function.id]]
    assert {v.operation for v in users} >= {"slice"}
    assert all(v.rate == "call" for v in users if v.operation == "slice")


def test_values_of_a_row_mask_are_computed_at_each_step() -> None:
    graph = rnnc.compile(HEAD + "y = variational(0.4, a)\n", backend="reference").graph
    dataflow = canonicalize(lower(graph, training=True))
    masks = [v for v in dataflow.values if v.operation == "mask"]
    assert [v.rate for v in masks] == ["row"]
    assert [dataflow.values[n].rate for n in dataflow.users[masks[0].id]] == ["step"]
