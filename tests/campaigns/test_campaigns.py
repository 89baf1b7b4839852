"""The search in small: fixed seeds, planted faults, its ledger and its shrinker."""

from __future__ import annotations

from pathlib import Path

import pytest

from campaigns.planted_faults import PLANTED, first_found, planted
from campaigns.search import Found, Search, examine
from campaigns.shrink import Case, as_test, shrink
from support.comparison.cases import assert_case
from support.generator import random_spec
from support.generator.calls import Calling, random_calling, simpler

from . import ledger

SPECS = 200
ON_CPU = 40
PARTS = 20


def failures(search: Search, seeds: range) -> list[Found]:
    found = examine(search, seeds)
    assert all(f.accepted for f in found), "every random spec is valid"
    return [f for f in found if f.way]


@pytest.mark.parametrize("part", range(PARTS))
def test_the_planned_backend_agrees_with_the_reference(part: int) -> None:
    size = SPECS // PARTS
    seeds = range(part * size, part * size + size)
    assert not failures(Search("aten", calls=1), seeds)


@pytest.mark.parametrize("part", range(PARTS // 4))
def test_the_reference_agrees_with_the_second_oracle(part: int) -> None:
    size = SPECS // (PARTS // 4)
    seeds = range(part * size, part * size + size)
    assert not failures(Search("oracle", calls=1), seeds)


@pytest.mark.parametrize("part", range(4))
def test_generated_code_agrees_with_the_reference(part: int) -> None:
    size = ON_CPU // 4
    seeds = range(part * size, part * size + size)
    assert not failures(Search("cpu", "-O0", calls=1), seeds)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(name: str) -> None:
    assert first_found(name, 20_000) is not None


def test_a_mismatch_becomes_a_small_test() -> None:
    search, name = Search("oracle"), "no symbol is the first"
    with planted(name):
        blocks = (examine(search, range(s, s + 10)) for s in range(20_000, 20_200, 10))
        seed = next(f.seed for found in blocks for f in found if f.way and not f.number)
        spec = random_spec(seed)
        case = Case(spec.text, spec.sizes, random_calling(seed))
        small = shrink(case, search.failure, budget=150)
        assert search.failure(small.text, small.sizes, small.calling)
    assert small.text.count("\n") < spec.text.count("\n") / 3
    assert "symbol" in small.text
    assert search.failure(small.text, small.sizes, small.calling) is None
    assert "assert_case(SPEC, Calling(" in as_test(small, "oracle", {})


def test_a_call_has_ever_less() -> None:
    calling = Calling(steps=3, rows=2, lengths="ragged", resets="some", state="carried")
    seen = 0
    while simpler(calling):
        calling, seen = simpler(calling)[0], seen + 1
    assert (calling, seen < 20) == (Calling(steps=1, rows=1), True)


def test_a_call_step_by_step_is_held_to_a_whole_one_in_evaluation_alone() -> None:
    calling = Calling(steps=3, rows=2, training=False, stepwise=True, batch_first=True)
    text = "input x: real[2]\noutput y: real[2]\ny = dropout(0.5, x[t-1])\n"
    assert all(less.training <= (not less.stepwise) for less in simpler(calling))
    for less in (calling, *simpler(calling)):
        assert_case(text, less, "aten")


def test_a_search_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    entry = ledger.Entry(
        "cpu", {"flags": "-O3"}, ledger.generator_version(), 0, 99, 100, 98, (7,), "abc"
    )
    assert ledger.next_seed("cpu", {"flags": "-O3"}, path) == 0
    ledger.add(entry, path)
    assert ledger.read(path) == [entry]
    assert ledger.next_seed("cpu", {"flags": "-O3"}, path) == 100
    assert ledger.next_seed("cpu", {}, path) == 0
    assert ledger.next_seed("aten", {"flags": "-O3"}, path) == 0


def test_the_ledger_can_be_read() -> None:
    for entry in ledger.read():
        assert entry.first <= entry.last
        assert entry.held <= entry.accepted <= entry.last - entry.first + 1
