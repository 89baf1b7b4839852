"""The rule of time against loops over single rows: every segment is cut out and run alone.

Nothing here shares code with the reference: plain lists, one row and one segment at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import rnnc
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.operators.semantics.segments import Segments
from support.comparison.assertions import assert_close
from support.comparison.random_arguments import CallArguments, feed, randomize_parameters

Row = list[Any]


@dataclass
class Segment:
    """One row's steps of one segment, and what came before it where that belongs to it."""

    x: Row
    before: dict[str, Row]
    end: bool
    y: Row = field(default_factory=list)
    after: dict[str, Row] = field(default_factory=dict)


def back(series: Row, before: Row, i: int, outside: Any) -> Any:
    """Entry i of a series; before its start, of what came before; else what is outside."""
    if i >= 0:
        return series[i]
    return before[i] if len(before) >= -i else outside


LONG = """
input x: real[2]
state h: real[3] = 0.3
output y: real[3]
h' = tanh(W h + V h[t-3] + U x + Q x[t-2] + b)
y = h' - h[t-2]
"""


def long(p: dict[str, Any], segment: Segment) -> None:
    initial = np.full(3, 0.3)
    h: Row = []
    xs, hb, xb = segment.x, segment.before.get("h", []), segment.before.get("x", [])
    for t in range(len(xs)):
        old = [back(h, hb, t - k, initial) for k in (1, 2, 3)]
        past = back(xs, xb, t - 2, np.zeros(2))
        h.append(
            np.tanh(p["W"] @ old[0] + p["V"] @ old[2] + p["U"] @ xs[t] + p["Q"] @ past + p["b"])
        )
        segment.y.append(h[t] - old[1])
    segment.after = {
        "h": [back(h, hb, len(xs) - k, initial) for k in (3, 2, 1)],
        "x": [back(xs, xb, len(xs) - k, np.zeros(2)) for k in (2, 1)],
    }


SYMBOLS = """
input s: symbol[4]
state h: real[2] = learned
output y: real[2] at end
h' = tanh(E s + F s[t-1] + W h[t-2] + V [s ; h])
y = h'
"""


def symbols(p: dict[str, Any], segment: Segment) -> None:
    initial = p["init.h"]
    h: Row = []
    xs, hb, xb = segment.x, segment.before.get("h", []), segment.before.get("s", [])

    def column(matrix: Any, symbol: int) -> Any:
        return matrix[:, symbol] if symbol >= 0 else np.zeros(len(matrix))

    for t in range(len(xs)):
        one, two = (back(h, hb, t - k, initial) for k in (1, 2))
        previous = back(xs, xb, t - 1, -1)
        hot = [1.0 if xs[t] == k else 0.0 for k in range(4)]
        h.append(
            np.tanh(
                column(p["E"], xs[t]) + column(p["F"], previous) + p["W"] @ two
                + p["V"] @ np.concatenate([hot, one])
            )
        )  # fmt: skip
        segment.y.append(h[t])
    segment.after = {
        "h": [back(h, hb, len(xs) - k, initial) for k in (2, 1)],
        "s": [back(xs, xb, len(xs) - 1, -1)],
    }


BOTH = """
input x: real[2]
state f: real[2] = 0.1
state g: real[2] = learned
state k: real
output y: real[3]
f' = σ(A x + B f + C g')
g[t] = tanh(D x + E g[t+2] + G x[t-1])
k' = 0.5 * k[t+1] + dot(g', x)
y = [f' - g[t+1] ; k']
"""


def both(p: dict[str, Any], segment: Segment) -> None:
    xs = segment.x
    n = len(xs)
    g: Row = [None] * n
    k: Row = [None] * n

    def ahead(series: Row, i: int, outside: Any) -> Any:
        return series[i] if i < n else outside

    for t in reversed(range(n)):
        past = xs[t - 1] if t else np.zeros(2)
        later = ahead(g, t + 2, p["init.g"])
        g[t] = np.tanh(p["D"] @ xs[t] + p["E"] @ later + p["G"] @ past)
        k[t] = 0.5 * ahead(k, t + 1, np.zeros(1)) + float(g[t] @ xs[t])
    f = np.full(2, 0.1)
    for t in range(n):
        z = p["A"] @ xs[t] + p["B"] @ f + p["C"] @ g[t]
        f = np.array([1 / (1 + math.exp(-v)) for v in z])
        segment.y.append(np.concatenate([f - ahead(g, t + 1, p["init.g"]), k[t]]))


def by_hand(
    model: CompiledRNN, run: Callable[[dict[str, Any], Segment], None], arguments: CallArguments
) -> tuple[Any, dict[str, Any]]:
    """(B, T) of outputs, None past a row's end, and what each row carries on, by name."""
    p = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    (name, x) = next(iter(arguments.inputs.items()))
    steps, rows = x.shape[:2]
    symbols_ = not x.is_floating_point()
    history: dict[str, Tensor] = {}
    if arguments.state is not None:
        for field_ in arguments.state._fields:
            value = getattr(arguments.state, field_)
            single = value.dim() < (2 if field_ == name and symbols_ else 3)
            history[field_] = value[None] if single else value
    outputs: list[Row] = []
    carried: dict[str, Row] = {}
    for b in range(rows):
        length = steps if arguments.lengths is None else int(arguments.lengths[b])
        cuts = [t for t in range(length) if arguments.resets is not None and arguments.resets[t, b]]
        before = {key: [v.detach().numpy() for v in value[:, b]] for key, value in history.items()}
        if symbols_ and name in before:
            before[name] = [int(v) for v in before[name]]
        edges = [*cuts, length] if cuts and cuts[0] == 0 else [0, *cuts, length]
        outputs.append([])
        after = before
        for index, (start, stop) in enumerate(pairwise(edges)):
            fresh = index > 0 or (cuts[:1] == [0])
            rows_x = [x[t, b] for t in range(start, stop)]
            xs = [int(v) if symbols_ else v.detach().numpy() for v in rows_x]
            segment = Segment(xs, {} if fresh else before, stop == length)
            run(p, segment)
            outputs[-1] += segment.y
            after = segment.after
        for key, values in after.items():
            carried.setdefault(key, []).append(values)
    return outputs, carried


def compare(
    text: str,
    run: Callable[[dict[str, Any], Segment], None],
    arguments: CallArguments,
    model: CompiledRNN,
) -> None:
    y, state = arguments.call(model)
    outputs, carried = by_hand(model, run, arguments)
    if model.graph.outputs[0].at_end:
        rows = [np.array(row[-1]) if row else np.zeros(y.shape[-1]) for row in outputs]
        expected = torch.from_numpy(np.stack(rows))
    else:
        zeros = np.zeros(y.shape[-1])
        expected = torch.from_numpy(
            np.array([[*row, *[zeros] * (len(y) - len(row))] for row in outputs])
        ).transpose(0, 1)
    assert_close(y, expected, 1e-12, "y")
    if state is None:
        return
    for name in state._fields:
        rows_ = torch.from_numpy(np.array(carried[name])).transpose(0, 1)
        value = getattr(state, name)
        assert_close(value if value.dim() == rows_.dim() else value[None], rows_, 1e-12, name)


CASES = {"long": (LONG, long), "symbols": (SYMBOLS, symbols), "both": (BOTH, both)}
KINDS = ["plain", "ragged", "reset", "carry", "reset carry", "ragged reset", "ragged reset carry"]


def prepared(case: str, kind: str, steps: int, seed: int) -> tuple[CompiledRNN, CallArguments]:
    model = randomize_parameters(rnnc.compile(CASES[case][0], backend="reference").double(), seed)
    marks = {mark: mark in kind.split() for mark in ("ragged", "reset", "carry")}
    return model, feed(model, steps, 6, seed=seed, **marks)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_every_row_is_its_segments_one_by_one(case: str, kind: str) -> None:
    for seed, steps in enumerate([1, 2, 5, 12]):
        model, arguments = prepared(case, kind, steps, seed)
        with torch.no_grad():
            compare(*CASES[case], arguments, model)


@pytest.mark.parametrize("change", [("h[t-3]", "h[t-2]"), ("x[t-2]", "x[t-1]"), ("0.3", "0.2")])
def test_a_wrong_delay_or_initial_value_is_caught(change: tuple[str, str]) -> None:
    _, arguments = prepared("long", "reset", 12, 0)
    wrong_model = randomize_parameters(
        rnnc.compile(LONG.replace(*change), backend="reference").double(), 0
    )
    with pytest.raises(AssertionError):
        compare(*CASES["long"], arguments, wrong_model)


@pytest.mark.parametrize(
    ("case", "lost"),
    [("long", "resets"), ("symbols", "resets"), ("both", "resets"), ("both", "lengths")],
)
def test_a_lost_argument_is_caught(case: str, lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, arguments = prepared(case, "ragged reset", 12, 1)
    init = Segments.__init__

    def forgetful(self: Segments, call: Any) -> None:
        init(self, call)
        if lost == "resets":
            self.start = torch.full_like(self.start, -99)
        self.end = torch.full_like(self.end, call.steps if lost == "lengths" else 99)
        if lost == "resets" and call.lengths is not None:
            self.end = call.lengths.expand_as(self.end)

    monkeypatch.setattr(Segments, "__init__", forgetful)
    with torch.no_grad(), pytest.raises(AssertionError):
        compare(*CASES[case], arguments, model)
