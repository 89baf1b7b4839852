"""Specs written from the manual alone, held against PyTorch written from the papers alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from papers.cells import CELLS, Parameters
from torch import Tensor

import rnnc
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.compiler.module.losses import mean_loss
from support.comparison import random_arguments
from support.comparison.assertions import assert_close

SPECS = Path(__file__).with_name("specs")
NAMES: dict[str, dict[str, str]] = json.loads((SPECS / "names.json").read_text())
WEIGHTS = {"twin_net": 0.5, "td_features": 1.0}
"""Of the loss that a cell has of its own."""
STEPS, ROWS = 11, 3


def model_of(name: str, backend: str) -> CompiledRNN:
    model = rnnc.compile(SPECS / f"{name}.rnn", backend=backend).double()
    return random_arguments.randomize_parameters(model, 1)


def feed_of(
    name: str, model: CompiledRNN, *, whole: bool = False
) -> random_arguments.CallArguments:
    """Ragged rows with resets, or whole ones; symbols are symbols, and what must be positive is."""
    feed = random_arguments.feed(model, STEPS, ROWS, seed=3, ragged=not whole, reset=not whole)
    positive = {"holt_winters": ["x"], "gru_d": ["d"]}.get(name, [])
    for key, value in feed.inputs.items():
        if not value.is_floating_point():
            feed.inputs[key] = value.clamp(min=0)
        elif key in positive:
            feed.inputs[key] = value.abs() + 0.5
        if feed.inputs[key].is_floating_point():
            feed.inputs[key].requires_grad_()
    return feed


def segments(feed: random_arguments.CallArguments, row: int) -> list[tuple[int, int]]:
    """First step and end of each segment of a row."""
    length = STEPS if feed.lengths is None else int(feed.lengths[row])
    starts = {0} if length else set()
    if feed.resets is not None:
        starts |= {t for t in range(length) if feed.resets[t, row]}
    ordered = sorted(starts)
    return list(zip(ordered, [*ordered[1:], length], strict=True)) if ordered else []


def expected(
    name: str, model: CompiledRNN, feed: random_arguments.CallArguments
) -> tuple[Tensor, Tensor]:
    """The outputs (T, B, m), zero past a row's end, and the mean of the cell's own loss."""
    values = {NAMES[name][key]: value for key, value in model.named_parameters()}
    width = model.graph.outputs[0].type.size
    rows, terms, count = [], [], 0
    for row in range(ROWS):
        y: list[Tensor] = []
        for start, end in segments(feed, row):
            inputs: Any = [list(x[start:end, row]) for x in feed.inputs.values()]
            steps = inputs[0] if len(inputs) == 1 else list(zip(*inputs, strict=True))
            found = CELLS[name](Parameters(values), steps)
            if isinstance(found, tuple):
                terms += found[1]
                found = found[0]
            y += found
        count += len(y)
        y += [torch.zeros(width, dtype=torch.float64)] * (STEPS - len(y))
        rows.append(torch.stack(y))
    own = torch.stack(terms).sum() / count if terms else torch.zeros((), dtype=torch.float64)
    return torch.stack(rows, 1), own


def compare(name: str, model: CompiledRNN, *, whole: bool = False) -> None:
    feed = feed_of(name, model, whole=whole)
    y, _ = feed.call(model)
    y_, own_ = expected(name, model, feed)
    assert_close(y, y_, 1e-11, name)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(4), dtype=y.dtype)
    ours, theirs = (y * weight).sum(), (y_ * weight).sum()
    if name in WEIGHTS:
        target = torch.zeros_like(y)
        own = model.loss(y, target, lengths=feed.lengths)
        own = own - mean_loss("real", y, target, feed.lengths)
        assert_close(own, WEIGHTS[name] * own_, 1e-11, f"loss of {name}")
        ours, theirs = ours + own, theirs + WEIGHTS[name] * own_
    learned = {key: p for key, p in model.named_parameters() if p.requires_grad}
    sources = [*learned.values(), *(x for x in feed.inputs.values() if x.is_floating_point())]
    labels = [*learned, *(f"input {k}" for k, x in feed.inputs.items() if x.is_floating_point())]
    found = torch.autograd.grad(ours, sources, allow_unused=True)
    wanted = torch.autograd.grad(theirs, sources, allow_unused=True)
    for label, source, a, b in zip(labels, sources, found, wanted, strict=True):
        zero = torch.zeros_like(source)
        assert_close(zero if a is None else a, zero if b is None else b, 1e-10, f"{name} {label}")


@pytest.mark.parametrize("backend", ["reference", "aten", "cpu"])
@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_its_papers(name: str, backend: str) -> None:
    model = model_of(name, backend)
    compare(name, model)


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_in_pieces_is_its_papers(name: str) -> None:
    """Carried from call to call, in pieces shorter than what it looks back."""
    model = model_of(name, "aten").eval()
    if model.runs_backward:
        assert model(feed_of(name, model).inputs)[1] is None
        return
    feed = feed_of(name, model, whole=True)
    state, pieces = None, []
    with torch.no_grad():
        for start, end in ((0, 1), (1, 3), (3, 4), (4, STEPS)):
            y, state = model({k: x[start:end] for k, x in feed.inputs.items()}, state)
            pieces.append(y)
        y_, _ = expected(name, model, feed)
    assert_close(torch.cat(pieces), y_, 1e-11, name)


def test_a_planted_fault_is_caught() -> None:
    model = model_of("gru_2014", "aten")
    with torch.no_grad():
        other = {key: value.clone() for key, value in model.named_parameters()}
        NAMES["gru_2014"] = dict(NAMES["gru_2014"])
        first, second = (
            key for key in other if key.endswith((".Wr", ".Wz")) or key in {"Wr", "Wz"}
        )
        names = NAMES["gru_2014"]
        names[first], names[second] = names[second], names[first]
    with pytest.raises(AssertionError):
        compare("gru_2014", model)
    names[first], names[second] = names[second], names[first]
