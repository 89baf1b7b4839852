"""VJP rules use operands as the forward value saw them: at its step and in its segment."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import rnnc
from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Operand
from rnnc.compiler.lowering.lower import lower
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from support.comparison.agreement import assert_agree
from support.comparison.available_backends import AVAILABLE_BACKENDS

OTHERS = [name for name in AVAILABLE_BACKENDS if name not in {"reference", "aten"}]
CALLS: list[dict[str, Any]] = [
    {"steps": 6, "rows": 2},
    {"steps": 2, "rows": 3, "carry": True},
    {"steps": 6, "rows": 3, "ragged": True, "reset": True, "carry": True},
]
HEAD = """
input x: real[2]
input s: symbol[3]
state h: real[2] = learned
h' = tanh(W h + U x + E s)
"""
OPERANDS = {
    "a state": "h",
    "a state two steps ago": "h[t-2]",
    "an input": "x[t-1]",
    "now": "x",
}
WINDOWS = {
    "scores": "M ({})",
    "a mix": "Mᵀ tanh(V ({}))",
    "scores of an input": "X ({})",
    "a mix of an input": "Xᵀ tanh(V ({}))",
    "scores of symbols": "S (Q ({}))",
    "a mix of symbols": "Sᵀ tanh(V ({}))",
    "a softmax": "softmax(M ({}))",
    "both": "Mᵀ softmax(M ({}))",
}
ELEMENTWISE = ["tanh", "σ", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "softsign"]
ELEMENTWISE += ["exp", "abs", "sin", "cos", "softmax"]
FUNCTIONS = {
    **{name: f"{name}({{}})" for name in ELEMENTWISE},
    "log": "log(2 + σ({}))",
    "sqrt": "sqrt(2 + σ({}))",
    "multiply": "({}) ⊙ (W1 x) ⊙ ({})",
    "divide": "(W1 x) / (2 + σ({}))",
    "divided": "({}) / (2 + σ(W1 x))",
    "subtract": "1 - ({})",
    "maxout": "maxout(2, [{} ; x])",
    "lp": "lp(2, [{} ; x], {})",
    "dot": "dot({}, W1 x) * x",
    "sum": "sum({}) * x",
    "layernorm": "layernorm({}, W1 x, {})",
    "rmsnorm": "rmsnorm({}, {})",
    "matmul": "W1 tanh(W1 ({}))",
    "transposed": "W1ᵀ tanh(W1ᵀ ({}))",
    "dropout": "dropout(0.4, {})",
    "variational": "variational(0.4, {})",
    "zoneout": "zoneout(0.4, {}, W1 x)",
}


def spec_of_parts(parts: dict[str, str], operand: str) -> str:
    """Return a spec with one output a part, all of one operand."""
    text = HEAD + "M = h[t-4..t-1]\nX = x[t-2..t]\nS = s[t-3..t-1]\n"
    for index, part in enumerate(parts.values()):
        # Each part has its own matrices.
        expression = part
        for name in ("V", "Q", "W1"):
            expression = expression.replace(name, f"{name}_{index}")
        expression = expression.format(*[operand] * part.count("{}"))
        text += f"output y_{index}: real[2]\ny_{index} = Z_{index} ({expression})\n"
    return text


@pytest.mark.parametrize("form", ["{}", "stopgrad({})"])
@pytest.mark.parametrize("operand", OPERANDS)
def test_through_windows(operand: str, form: str) -> None:
    text = spec_of_parts(WINDOWS, form.format(OPERANDS[operand]))
    for call in CALLS:
        assert_agree(text, seed=1, **call)


@pytest.mark.parametrize("form", ["{}", "stopgrad({})", "(x + stopgrad({}))"])
def test_through_functions(form: str) -> None:
    text = spec_of_parts(FUNCTIONS, form.format("h[t-2]"))
    for call in CALLS:
        assert_agree(text, seed=2, **call)


@pytest.mark.parametrize("backend", OTHERS)
def test_on_every_backend(backend: str) -> None:
    text = spec_of_parts(WINDOWS, "stopgrad(h)")
    for call in CALLS:
        assert_agree(text, backend, seed=3, **call)


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
def test_a_query_that_is_no_variable(backend: str) -> None:
    text = "input x: real\noutput y: real\nM = x[t-1..t]\ny = sum(M stopgrad(x[t-1]))\n"
    model = rnnc.compile(text, backend=backend)
    x = torch.tensor([1.0, 10.0, 100.0, 1000.0]).view(4, 1, 1).requires_grad_()
    model(x)[0].sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [1.0, 11.0, 110.0, 100.0]


def test_a_value_is_not_replaced_by_an_operand_of_another_step() -> None:
    graph = analyze(Source(HEAD + "output y: real[2]\ny = h'\n")).graph
    assert graph is not None
    builder = Builder.from_dataflow(lower(graph, training=True))
    with pytest.raises(AssertionError, match="at other steps"):
        builder.replace_uses(len(builder.values) - 1, Operand(0, 1))
