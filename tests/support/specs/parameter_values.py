"""Specs with parameters as values: results of parameters alone have no steps and rows.

A sum over steps and rows must count them once if no other factor has steps or rows, and once for
each step and row otherwise.
"""

from __future__ import annotations

from typing import Final


def _spec(h: str, y: str, parameters: tuple[str, ...], before: str) -> str:
    lines = ("input x: real[3]", "state h: real[3]", "output y: real[3]")
    declarations = (f"param {parameter}" for parameter in parameters)
    return "\n".join([*lines, *declarations, before, f"h' = tanh(W h + U x{h})", f"y = h'{y}", ""])


def _added_to_state(value: str, *parameters: str, before: str = "") -> str:
    """Write a network with a value added to its next state."""
    return _spec(f" + {value}", "", parameters, before)


def _added_to_output(value: str, *parameters: str, before: str = "") -> str:
    """Write a network with a value added to its output."""
    return _spec("", f" + {value}", parameters, before)


def _output_and_state(value: str, *parameters: str) -> str:
    """Write a network with a value in its next state and as an output."""
    return _added_to_state(value, *parameters, before=f"output z: real[3]\nz = {value}")


def _tied_embedding(type_: str) -> str:
    lines = (f"input x: {type_}", "state h: real[3]", "output y: real[5]")
    declarations = ("param E: real[3, 5]", "param s: vector, real[3]")
    return "\n".join([*lines, *declarations, "h' = tanh(W h + E x)", "y = Eᵀ h' + Eᵀ s", ""])


_A, _V = "a: vector, real[3]", "V: real[3, 3]"
_M = "M = h[t-3..t-1]"

PARAMETER_VALUES: Final[dict[str, str]] = {
    "product": _added_to_state("V a", _A, _V),
    "product of a function": _added_to_state("V tanh(a)", _A, _V),
    "product of a product": _added_to_state("Z tanh(V a)", _A, _V, "Z: real[3, 3]"),
    "factor of an input": _added_to_state("(V a) ⊙ x", _A, _V),
    "gate": _added_to_state("σ(V a) ⊙ h", _A, _V),
    "output": _added_to_output("V a", _A, _V),
    "output as it is": _output_and_state("a", _A),
    "computed output as it is": _output_and_state("V a", _A, _V),
    "output without gradient": _output_and_state("stopgrad(a)", _A),
    "in a law": _added_to_state("V a", _A, _V, before="law V a ≈ a weight 0.3\nlaw a ≈ h weight 2"),
    "in a loss": _added_to_state(
        "V a", _A, _V, before="loss dot(V a, a) weight 0.3\nloss dot(a, h')"
    ),
    "dropped": _added_to_state("V dropout(0.4, a)", _A, _V),
    "one matrix of a state and a bias": _added_to_state("W c", "c: vector, real[3]"),
    "one vector once and at each step": _added_to_state(
        "Z c + Z (c ⊙ x)", "c: vector", "Z: real[3, 3]"
    ),
    "blocks": _added_to_state(
        "P (D c)", "c: vector, real[4]", "D: blocks(2), real[4, 4]", "P: real[3, 4]"
    ),
    "diagonal": _added_to_state("d (V a)", _A, _V, "d: diagonal"),
    "normed": _added_to_state("rmsnorm(V a, g) + softmax(V a)", _A, _V, "g: vector"),
    "tied": _tied_embedding("real[5]"),
    "tied to a table": _tied_embedding("symbol[5]"),
    "learned query": _added_to_output("Mᵀ softmax(M q)", "q: vector", before=_M),
    "learned query in a loop": _added_to_state("Mᵀ softmax(M q)", "q: vector", before=_M),
    "computed query": _added_to_output("Mᵀ softmax(M tanh(V a))", _A, _V, before=_M),
    "computed query in a loop": _added_to_state("Mᵀ softmax(M tanh(V a))", _A, _V, before=_M),
    "learned weights": _added_to_output("Mᵀ q", "q: vector", before=_M),
    "learned weights in a loop": _added_to_state("Mᵀ q", "q: vector", before=_M),
    "computed weights": _added_to_output("Mᵀ softmax(V a)", _A, _V, before=_M),
    "computed weights in a loop": _added_to_state("Mᵀ softmax(V a)", _A, _V, before=_M),
}
"""By use of the parameter; all matrices and vectors are learned and random."""
