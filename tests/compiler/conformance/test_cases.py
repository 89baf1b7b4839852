"""Check the text form of cases, how they shrink, and the arguments drawn for them."""

from __future__ import annotations

import pytest
import torch

import rnnc
from rnnc.compiler.conformance.cases import CASES, Case, parse_case, simplify
from rnnc.compiler.conformance.random_arguments import draw_arguments

TEXT = "input x: symbol[3]\ninput z: real[2]\nstate h: real[3]\nh' = tanh(U x + A z)\nx' = ▷ h'\n"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_is_read_as_it_is_written(case: Case) -> None:
    assert parse_case(str(case)) == case


@pytest.mark.parametrize(
    "text", ["", "T=3", "B=2", "T=0,B=1", "T=3,B=2,carries", "T=3 B=2 resets=True", "3,2"]
)
def test_what_is_no_case_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"case: expected T=…,B=…"):
        parse_case(text)


def test_every_length_and_everything_that_can_be_given_is_among_them() -> None:
    assert {case.steps for case in CASES} == set(range(1, 7))
    assert {case.rows for case in CASES} == {1, 2, 3}
    for steps in (1, 6):
        assert any(case.carry and case.steps == steps for case in CASES)
    assert {case.resets for case in CASES} == {"", "False", "some"}
    assert any(c.steps == 1 and c.carry and c.resets == "False" for c in CASES)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_smaller_ends_with_one_step_of_one_row(case: Case) -> None:
    visited, new = set[Case](), {case}
    while new:
        visited |= new
        new = {simpler for candidate in new for simpler in simplify(candidate)} - visited
    assert Case(1, 1) in visited
    assert case not in set(simplify(case))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_gives_what_it_says(case: Case) -> None:
    arguments = draw_arguments(rnnc.compile(TEXT, backend="reference").double(), case)
    assert arguments.x["x"].shape == (case.steps, case.rows)
    assert case.steps * case.rows == 1 or (arguments.x["x"] == -1).any()
    assert (arguments.state is not None) == case.carry
    assert arguments.x["z"].requires_grad == case.carry
    if case.lengths:
        assert arguments.lengths is not None
        assert case.rows == 1 or int(arguments.lengths.max()) == case.steps
        assert case.rows < 3 or int(arguments.lengths.min()) == 0
        assert arguments.x["z"].isnan().any() == (arguments.lengths < case.steps).any()
    else:
        assert arguments.lengths is None
        assert not arguments.x["z"].isnan().any()
    if case.resets:
        assert arguments.resets is not None
        assert bool(arguments.resets.any()) == (case.resets == "some")
    else:
        assert arguments.resets is None


def test_the_same_numbers_come_again() -> None:
    model = rnnc.compile(TEXT, backend="reference").double()
    first, second = (draw_arguments(model, Case(3, 2)) for _ in range(2))
    assert torch.equal(first.x["z"], second.x["z"])
    assert not torch.equal(first.x["z"], draw_arguments(model, Case(3, 2), seed=1).x["z"])
