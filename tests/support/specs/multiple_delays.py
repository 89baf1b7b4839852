"""Specs that read one value at several delays.

The gradient of the value then reads one product at several delays: passes may find that two
products are equal, and one reader then reads it now and at another step.
"""

from __future__ import annotations

from typing import Final


def _spec(*equations: str, states: str = "h, g") -> str:
    lines = ("input x: real[2]", f"state {states}: real[4]", "output y: real[3]")
    return "\n".join([*lines, *equations, ""])


MULTIPLE_DELAYS: Final[dict[str, str]] = {
    "one matrix, backward": _spec(
        "h[t] = tanh(W g[t+1])", "g[t] = tanh(V h[t+1] + V h' + U x)", "y = A h'"
    ),
    "one matrix, forward": _spec(
        "h[t] = tanh(W g[t-1])", "g[t] = tanh(V h[t-1] + V h' + U x)", "y = A h'"
    ),
    "three delays, backward": _spec(
        "h[t] = tanh(W g[t+1] + W g[t+3])", "g[t] = tanh(V h[t+2] + V h' + V h[t+1] + U x)",
        "y = A h' + A g' + A g[t+2]",
    ),
    "three delays, forward": _spec(
        "h[t] = tanh(W g[t-1] + W g[t-3])", "g[t] = tanh(V h[t-2] + V h' + V h[t-1] + U x)",
        "y = A h' + A g' + A g[t-2]",
    ),
    "one state, backward": _spec(
        "h[t] = tanh(W h[t+1] + W h[t+2] + U x)", "y = A h' + A h[t+1]", states="h"
    ),
    "one state, forward": _spec(
        "h[t] = tanh(W h[t-1] + W h[t-2] + U x + U x[t-1])", "y = A h' + A h[t-1]", states="h"
    ),
    "entry by entry": _spec(
        "h[t] = tanh(W g[t+1]) ⊙ g[t+1] - g[t+2]",
        "g[t] = tanh(U x) ⊙ h[t+1] + tanh(U x) ⊙ h'", "y = A h' + A (h' ⊙ g[t+1])",
    ),
}  # fmt: skip
"""By the value that is read, and the direction of time."""
