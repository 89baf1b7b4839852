"""The generator of random specs: valid, deterministic, and with everything in it."""

from __future__ import annotations

import re
from functools import cache

import pytest
import torch

import rnnc
from rnnc.grammar.diagnostics.render import render_text
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.primitives import PRIMITIVES
from support.comparison.assertions import weighted_sum
from support.comparison.random_arguments import feed, randomize_parameters
from support.generator import random_spec
from support.generator.census import PAIRS, census
from support.generator.productions import every_production, productions

COUNT = 500
NEVER_VALID = re.compile(
    r"declaration: (INPUT|STATE) .* _marks|declaration: (INPUT|OUTPUT) .* EQUAL expr"
    r"|equation: expr COLON type$|__type_star_\d+: __type_star_\d+ COMMA expr"
)
"""Productions that exist only for better error messages."""


@cache
def graph_of(seed: int) -> OperatorGraph:
    spec = random_spec(seed)
    analysis = analyze(Source(spec.text), parameters=spec.sizes)
    errors = [render_text(d) for d in analysis.diagnostics if d.severity == "error"]
    assert analysis.graph is not None, "\n".join([spec.text, *errors])
    return analysis.graph


@pytest.mark.parametrize("part", range(4))
def test_every_random_spec_is_valid(part: int) -> None:
    for seed in range(part, COUNT, 4):
        assert graph_of(seed).outputs


def test_a_seed_is_one_spec() -> None:
    assert random_spec(7) == random_spec(7)
    assert len({random_spec(seed).text for seed in range(50)}) == 50


def test_every_kind_of_operand_is_in_every_position() -> None:
    pairs = set[tuple[str, str]]().union(
        *(census(random_spec(seed).text).pairs for seed in range(COUNT))
    )
    assert not set(PAIRS) - pairs, "positions without an operand of a kind"
    assert not pairs - set(PAIRS), "pairs that the census says cannot be"


def test_a_missing_construct_would_be_seen() -> None:
    pairs = census("input x: real\nstate h: real\noutput y: real\nh' = tanh(x)\ny = h").pairs
    assert ("tanh z", "real") in pairs
    assert ("output", "old state") in pairs
    assert ("tanh z", "old state") in set(PAIRS) - pairs


def test_every_function_has_its_positions() -> None:
    positions = {position for position, _ in PAIRS}
    for function in PRIMITIVES:
        assert {f"{function.name} {operand}" for operand in function.operands} <= positions


def test_every_production_of_the_grammar_is_used() -> None:
    specs = [random_spec(seed) for seed in range(COUNT)]
    used = productions([spec.text for spec in specs] + [spec.ascii for spec in specs[::5]])
    missing = {rule for rule in every_production() - used if not NEVER_VALID.search(rule)}
    assert not missing


def test_a_missing_production_would_be_seen() -> None:
    used = productions(["input x: real[2]\nx' = ▷ x"])
    assert {"x' = ▷ x", "LOSS", "⊕"} & (every_production() - used) == {"LOSS", "⊕"}
    assert {"INPUT", "▷", "real", "item: name PRIME"} <= used


def _without_words(graph: OperatorGraph) -> str:
    """Return a graph's text without the source lines of its losses."""
    return re.sub(r"output loss .*: real", "output loss: real", graph.to_text())


def test_both_spellings_are_one_graph() -> None:
    for seed in range(0, COUNT, 4):
        spec = random_spec(seed)
        assert set(spec.ascii) - set("α") <= set(map(chr, range(128)))
        analysis = analyze(Source(spec.ascii), parameters=spec.sizes)
        assert analysis.graph is not None
        assert _without_words(analysis.graph) == _without_words(graph_of(seed))


@pytest.mark.parametrize("training", [False, True])
def test_values_stay_moderate(training: bool) -> None:
    for seed in range(0, COUNT, 8):
        spec = random_spec(seed)
        torch.manual_seed(seed)
        model = rnnc.compile(spec.text, parameters=spec.sizes, backend="reference").double()
        randomize_parameters(model, seed)
        model.train(training)
        y, state = feed(model, 9, 2, seed=seed).call(model)
        for value in [*(y if isinstance(y, tuple) else (y,)), *(state or ())]:
            assert value.isfinite().all(), spec.text
            assert value.abs().max() < 1e3, spec.text
        score = weighted_sum((y, state))
        if score.requires_grad:
            score.backward()
        for name, parameter in model.named_parameters():
            gradient = parameter.grad
            assert gradient is None or gradient.isfinite().all(), (name, spec.text)
            assert gradient is None or gradient.abs().max() < 1e4, (name, spec.text)
