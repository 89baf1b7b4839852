"""The calls that are checked, as they are written and read."""

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
    seen, new = set[Case](), {case}
    while new:
        seen |= new
        new = {simpler for one in new for simpler in simplify(one)} - seen
    assert Case(1, 1) in seen
    assert case not in set(simplify(case))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_gives_what_it_says(case: Case) -> None:
    given = draw_arguments(rnnc.compile(TEXT, backend="reference").double(), case)
    assert given.x["x"].shape == (case.steps, case.rows)
    assert case.steps * case.rows == 1 or (given.x["x"] == -1).any()
    assert (given.state is not None) == case.carry
    assert given.x["z"].requires_grad == case.carry
    if case.lengths:
        assert given.lengths is not None
        assert case.rows == 1 or int(given.lengths.max()) == case.steps
        assert case.rows < 3 or int(given.lengths.min()) == 0
        assert given.x["z"].isnan().any() == (given.lengths < case.steps).any()
    else:
        assert given.lengths is None
        assert not given.x["z"].isnan().any()
    if case.resets:
        assert given.resets is not None
        assert bool(given.resets.any()) == (case.resets == "some")
    else:
        assert given.resets is None


def test_the_same_numbers_come_again() -> None:
    model = rnnc.compile(TEXT, backend="reference").double()
    one, other = (draw_arguments(model, Case(3, 2)) for _ in range(2))
    assert torch.equal(one.x["z"], other.x["z"])
    assert not torch.equal(one.x["z"], draw_arguments(model, Case(3, 2), seed=1).x["z"])
