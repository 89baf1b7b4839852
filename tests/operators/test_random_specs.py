"""The generator of random specs: valid, deterministic, and with everything in it."""

from __future__ import annotations

import re
from functools import cache

import pytest
import torch

import rnnc
from rnnc.grammar.render import render_text
from rnnc.grammar.source import Source
from rnnc.operators.analyse import analyse
from rnnc.operators.graph import OperatorGraph
from support.compare import total
from support.constructs import CONSTRUCTS
from support.feeds import feed, randomise
from support.specs import random_spec

COUNT = 400


@cache
def graph_of(seed: int) -> OperatorGraph:
    spec = random_spec(seed)
    analysis = analyse(Source(spec.text), parameters=spec.sizes)
    errors = [render_text(d) for d in analysis.diagnostics if d.severity == "error"]
    assert analysis.graph is not None, "\n".join([spec.text, *errors])
    return analysis.graph


def test_every_random_spec_is_valid() -> None:
    for seed in range(COUNT):
        assert graph_of(seed).outputs


def test_a_seed_is_one_spec() -> None:
    assert random_spec(7) == random_spec(7)
    assert len({random_spec(seed).text for seed in range(50)}) == 50


@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_every_construct_is_in_five_percent(construct: str) -> None:
    found = sum(CONSTRUCTS[construct](random_spec(seed), graph_of(seed)) for seed in range(COUNT))
    assert found >= COUNT / 20, f"{construct}: {found} of {COUNT}"
    assert construct in {"add", "multiply", "several inputs"} or found < COUNT


def _without_words(graph: OperatorGraph) -> str:
    """The text of a graph, but for the lines of the spec that its losses are called by."""
    return re.sub(r"output loss .*: real", "output loss: real", graph.to_text())


def test_both_spellings_are_one_graph() -> None:
    for seed in range(0, COUNT, 4):
        spec = random_spec(seed)
        assert spec.ascii.isascii()
        analysis = analyse(Source(spec.ascii), parameters=spec.sizes)
        assert analysis.graph is not None
        assert _without_words(analysis.graph) == _without_words(graph_of(seed))


@pytest.mark.parametrize("training", [False, True])
def test_values_stay_moderate(training: bool) -> None:
    for seed in range(0, COUNT, 8):
        spec = random_spec(seed)
        torch.manual_seed(seed)
        model = rnnc.compile(spec.text, parameters=spec.sizes, backend="aten").double()
        randomise(model, seed)
        model.train(training)
        y, state = feed(model, 9, 2, seed=seed).call(model)
        for value in [*(y if isinstance(y, tuple) else (y,)), *(state or ())]:
            assert value.isfinite().all(), spec.text
            assert value.abs().max() < 1e3, spec.text
        total((y, state)).backward()
        for name, parameter in model.named_parameters():
            gradient = parameter.grad
            assert gradient is None or gradient.isfinite().all(), (name, spec.text)
            assert gradient is None or gradient.abs().max() < 1e4, (name, spec.text)
