"""Specs that read the past of a backward state: its initial value before a segment.

One of them outputs its future directly: an output reads further ahead than any equation.
"""

from __future__ import annotations

from typing import Final

INITIAL_VALUES: Final = ("", " = 1.5", " = learned", " = uniform(-0.5, 0.5)")


def _spec(*equations: str, begins: str = " = learned", update: str = "0.5 * k[t+1] + x") -> str:
    lines = ("input x: real[2]", f"state k: real[2]{begins}", *equations, f"k' = {update}")
    return "\n".join([*lines, "output y: real[2]", ""])


BACKWARD_STATE_HISTORY: Final[dict[str, str]] = {
    **{f"output{begins}": _spec("y = k[t-3]", begins=begins) for begins in INITIAL_VALUES},
    **{f"sum{begins}": _spec("y = k[t-1] + x", begins=begins) for begins in INITIAL_VALUES},
    "alone": _spec("y = tanh(k[t-1])"),
    "product": _spec("y = A k[t-2] + k[t-3] ⊙ k[t+2] + k'"),
    "loop": _spec("y = k[t-1] ⊙ k[t-2]", update="tanh(W k[t+1] + x)"),
    "forward state": _spec("state h: real[2]", "h' = tanh(W k[t-2] + V h)", "y = h'"),
    "backward state": _spec(
        "state m: real[2] = 0.3", "m' = tanh(W m[t+1] + V k[t-2])", "y = m' + m[t-1]"
    ),
    "window": _spec("M = k[t-3..t-1]", "y = Mᵀ softmax(M x)"),
    "window and past": _spec("M = k[t-2..t+1]", "y = Mᵀ softmax(M x) + k[t-3]"),
    "law": _spec("law A k[t-1] ≈ tanh(x)", "y = k'"),
    "loss through a window": _spec(
        "M = k[t-3..t]", "loss sum(Mᵀ softmax(M x'))", "x' = tanh(x)", "y = k'"
    ),
    "loss": _spec("loss dot(k[t-2], x)", "y = k'"),
    "future as it is": _spec("y = k[t+5]", update="k[t+1]"),
}
