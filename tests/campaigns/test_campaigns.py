"""The search in small: fixed seeds, planted faults, its ledger and its shrinker."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

from campaigns import search as search_command
from campaigns.planted_faults import FAULTS, plant_fault, specs_until_found
from campaigns.search import Search, SpecResult, examine_specs
from campaigns.shrink import Case, format_test, shrink_case
from support.comparison.cases import assert_call_agrees
from support.generator import random_spec
from support.generator.calls import CallConfig, random_call, simplify_call

from . import ledger

SPECS = 200
ON_CPU = 40
PARTS = 20


def failures(search: Search, seeds: range) -> list[SpecResult]:
    results = examine_specs(search, seeds)
    assert all(f.accepted for f in results), "every random spec is valid"
    return [f for f in results if f.failure]


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


@pytest.mark.triton
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy warns of what a mask leaves out
def test_the_search_runs_kernels_in_the_interpreter() -> None:
    results = examine_specs(Search("cuda", calls=1), range(4))
    assert [f.failure for f in results] == [""] * 4
    assert 0 < sum(f.unsupported for f in results) < 4, "a window in a loop has no kernel"


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name: str) -> None:
    assert specs_until_found(name, 20_000) is not None


def test_a_mismatch_becomes_a_small_test() -> None:
    oracle, name = Search("oracle"), "no symbol is the first"
    with plant_fault(name):
        blocks = (examine_specs(oracle, range(s, s + 10)) for s in range(20_000, 20_200, 10))
        seed = next(
            f.seed for results in blocks for f in results if f.failure and not f.call_number
        )
        spec = random_spec(seed)
        case = Case(spec.text, spec.sizes, random_call(seed))
        small = shrink_case(case, oracle.describe_failure, budget=150)
        assert oracle.describe_failure(small.text, small.sizes, small.call)
    assert small.text.count("\n") < spec.text.count("\n") / 3
    assert "symbol" in small.text
    assert oracle.describe_failure(small.text, small.sizes, small.call) is None
    assert "assert_call_agrees(SPEC, CallConfig(" in format_test(small, "oracle", {})


def test_a_call_has_ever_less() -> None:
    call = CallConfig(steps=3, rows=2, lengths="ragged", resets="some", state="carried")
    seen = 0
    while simplify_call(call):
        call, seen = simplify_call(call)[0], seen + 1
    assert (call, seen < 20) == (CallConfig(steps=1, rows=1), True)


def test_a_call_step_by_step_is_held_to_a_whole_one_in_evaluation_alone() -> None:
    call = CallConfig(steps=3, rows=2, training=False, stepwise=True, batch_first=True)
    text = "input x: real[2]\noutput y: real[2]\ny = dropout(0.5, x[t-1])\n"
    assert all(less.training <= (not less.stepwise) for less in simplify_call(call))
    for less in (call, *simplify_call(call)):
        assert_call_agrees(text, less, "aten")


def test_a_search_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    entry = ledger.Entry(
        "cpu", {"flags": "-O3"}, ledger.generator_version(), 0, 99, 100, 98, (7,), "abc"
    )
    assert ledger.next_seed("cpu", {"flags": "-O3"}, path) == 0
    ledger.append_entry(entry, path)
    assert ledger.read_entries(path) == [entry]
    assert ledger.next_seed("cpu", {"flags": "-O3"}, path) == 100
    assert ledger.next_seed("cpu", {}, path) == 0
    assert ledger.next_seed("aten", {"flags": "-O3"}, path) == 0


def test_an_interrupted_search_writes_down_what_it_has_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(
        search: Search, first: int, count: int, jobs: int
    ) -> Iterator[list[SpecResult]]:
        yield [SpecResult(seed, True) for seed in range(first, first + 3)]
        raise KeyboardInterrupt

    path = tmp_path / "ledger.jsonl"
    monkeypatch.setattr(search_command, "run_search", interrupted)
    monkeypatch.setattr(ledger.append_entry, "__defaults__", (path,))
    arguments = Namespace(from_seed=7, count=100, jobs=1, shrink=0, no_ledger=False)
    assert search_command.run(Search("aten"), arguments, lambda *words, **options: None) == 0
    [entry] = ledger.read_entries(path)
    assert (entry.first, entry.last, entry.accepted, entry.held) == (7, 9, 3, 3)


def test_the_ledger_can_be_read() -> None:
    for entry in ledger.read_entries():
        assert entry.first <= entry.last
        assert entry.held <= entry.accepted <= entry.last - entry.first + 1
