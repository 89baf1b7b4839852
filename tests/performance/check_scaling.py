"""Time `rnnc check` on specs of growing size, to see that it is linear.

    python tests/performance/check_scaling.py [LINES …]

Prints one line per size: lines, graph operations, processor milliseconds (the best of three), and
microseconds a line. Four kinds of spec differ in cost: chained locals, states with operators
applied, a deep stack, and one long body used many times.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from rnnc.grammar.source import Source
from rnnc.operators.analyze import check_models

HEAD = "input x: real[8]\noutput y: real[8]\n"


def chained_locals(lines: int) -> str:
    """Write locals, each a function of the two before it."""
    body = "\n".join(
        f"z_{i}: real[8] = tanh(W_{i} z_{i - 1} + U_{i} z_{i - 2} + b_{i})" for i in range(2, lines)
    )
    return f"{HEAD}state h: real[8]\nz_0 = x\nz_1 = h\n{body}\nh' = z_{lines - 1}\ny = h'\n"


def stacked_states(lines: int) -> str:
    """Write two lines per layer: a state, and an application of the default operator."""
    layers = max(1, lines // 2)
    states = "\n".join(f"state h_{i}: real[8]" for i in range(1, layers + 1))
    body = "\n".join(f"h_{i}' = h_{i - 1}' ⊕_{i} h_{i}" for i in range(2, layers + 1))
    return f"{HEAD}{states}\nh_1' = x ⊕_1 h_1\n{body}\ny = h_{layers}'\n"


def gated_layers(lines: int) -> str:
    """Write an LSTM per layer, all with one definition, without `for`."""
    layers = max(1, lines // 3)
    definition = (
        "operator cell(x, (h, c)):\n    i = σ(Wi x + Ui h + bi)\n    f = σ(Wf x + Uf h + bf)\n"
        "    g = tanh(Wg x + Ug h + bg)\n    o = σ(Wo x + Uo h + bo)\n    d = f ⊙ c + i ⊙ g\n"
        "    (o ⊙ tanh(d), d)\n"
    )
    parts = []
    for i in range(1, layers + 1):
        before = f"h_{i - 1}'" if i > 1 else "x"
        parts.append(f"operator ⊗_{i} = cell\nstate h_{i}, c_{i}: real[8]\n")
        parts.append(f"(h_{i}', c_{i}') = {before} ⊗_{i} (h_{i}, c_{i})\n")
    return f"{HEAD}{definition}{''.join(parts)}y = h_{layers}'\n"


def long_body(lines: int) -> str:
    """Write one long operator body."""
    body = "\n".join(f"    z_{i}: real[8] = tanh(W_{i} z_{i - 1} + b_{i})" for i in range(1, lines))
    return (
        f"{HEAD}state h: real[8]\noperator x ⊕ h:\n    z_0: real[8] = tanh(W h + U x)\n{body}\n"
        f"    z_{lines - 1}\nh' = x ⊕ h\ny = h'\n"
    )


def main(sizes: list[int]) -> None:
    kinds: dict[str, Callable[[int], str]] = {
        "chained": chained_locals,
        "stacked": stacked_states,
        "gated": gated_layers,
        "bodied": long_body,
    }
    check_models(Source(chained_locals(10)))
    for name, kind in kinds.items():
        for lines in sizes:
            source = Source(kind(lines))
            best = float("inf")
            for _ in range(3):
                start = time.process_time()
                graphs, diagnostics = check_models(source)
                best = min(best, time.process_time() - start)
            if not graphs:
                raise SystemExit(str(next(iter(diagnostics))))
            print(
                f"{name:8} {lines:6} lines {len(graphs[0].nodes):7} operations "
                f"{best * 1e3:8.0f} ms {best / lines * 1e6:6.0f} µs a line"
            )


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [100, 1000, 10_000])
