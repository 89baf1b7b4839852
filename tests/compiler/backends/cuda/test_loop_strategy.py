"""The strategy of a loop follows from sizes alone, and each rejection has a reason."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

import rnnc
from rnnc.compiler.backends.cuda.autotune.strategy_report import describe_strategy
from rnnc.compiler.backends.cuda.schedule.device_limits import H200, KNOWN_DEVICES, DeviceLimits
from rnnc.compiler.backends.cuda.schedule.loop_strategy import (
    STRATEGY_VARIABLE,
    choose_strategy,
    forced_strategy,
)
from rnnc.compiler.backends.cuda.schedule.persistent_layout import DeviceContext
from rnnc.compiler.backends.cuda.schedule.tile_extents import padded_size, split_extents
from rnnc.compiler.plan_cache import PlanCache
from rnnc.compiler.request import training_request
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.operators.analyze import analyze
from rnnc.operators.sources.zoo import zoo_source
from rnnc.runtime.commands.inspect import command as inspect


def plan_loops(name: str, **sizes: int) -> list[tuple[Plan, Phase]]:
    graph = analyze(zoo_source(name), parameters=sizes, assume_missing=False).graph
    assert graph is not None
    plan = PlanCache(graph, sink_elementwise=True)(training_request(graph))
    return [(plan, phase) for phase in plan.phases if phase.kind == "loop"]


@pytest.mark.parametrize("size", [1, 6, 16, 17, 33, 100, 128, 200, 256, 511, 1000])
def test_parts_cover_a_size_once(size: int) -> None:
    parts = split_extents(size)
    assert [first for first, _ in parts] == [
        sum(extent for _, extent in parts[:at]) for at in range(len(parts))
    ]
    assert size <= padded_size(size) < size + 64
    assert all(extent & (extent - 1) == 0 and 16 <= extent <= 128 for _, extent in parts)


def test_a_faster_tier_that_is_refused_says_why() -> None:
    for plan, phase in plan_loops("lstm", hidden=4096):
        choice = choose_strategy(plan, phase, DeviceContext(H200))
        assert choice.strategy == "graph"
        assert [tier for tier, _ in choice.rejected] == ["chip", "grid"]
        assert all(why for _, why in choice.rejected)


def test_a_tier_that_is_forced_is_taken_or_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ((plan, phase), _) = plan_loops("lstm", hidden=4096)
    assert choose_strategy(plan, phase, DeviceContext(H200), "graph").rejected == ()
    with pytest.raises(rnnc.RnnError, match="RNNC_CUDA_TIER=chip, but that tier cannot run this"):
        choose_strategy(plan, phase, DeviceContext(H200), "chip")
    assert forced_strategy() is None
    monkeypatch.setenv(STRATEGY_VARIABLE, "grid")
    assert forced_strategy() == "grid"
    monkeypatch.setenv(STRATEGY_VARIABLE, "moon")
    with pytest.raises(rnnc.RnnError, match="RNNC_CUDA_TIER=moon, but the tiers are chip, grid"):
        forced_strategy()


@pytest.mark.parametrize(("rows", "tier"), [(1, "grid"), (64, "grid"), (4000, "graph")])
def test_very_many_rows_are_not_for_a_grid(rows: int, tier: str) -> None:
    for plan, phase in plan_loops("lstm", hidden=512):
        choice = choose_strategy(plan, phase, DeviceContext(H200, batch_size=rows))
        assert choice.strategy == tier
        if choice.layout is not None:
            programs = choice.layout.slices * choice.layout.row_groups(rows, H200)
            assert 0 < programs <= H200.multiprocessors
        else:
            assert "tiles of 32 rows in every step" in choice.rejected[1][1]


def test_what_the_caller_records_does_not_wait() -> None:
    for plan, phase in plan_loops("lstm", hidden=512):
        choice = choose_strategy(plan, phase, DeviceContext(H200, is_capturing=True))
        assert choice.strategy == "graph"
        assert "CUDA graph" in choice.rejected[1][1]


def test_what_a_machine_has_turned_down_is_not_tried_again() -> None:
    for plan, phase in plan_loops("lstm", hidden=64):
        choice = choose_strategy(
            plan, phase, DeviceContext(H200), excluded={"chip": "it does not start"}
        )
        assert (choice.strategy, choice.rejected) == ("grid", (("chip", "it does not start"),))
        with pytest.raises(rnnc.RnnError, match="it does not start"):
            choose_strategy(plan, phase, DeviceContext(H200), "chip", {"chip": "it does not start"})


@pytest.mark.parametrize("device", KNOWN_DEVICES)
@pytest.mark.parametrize("hidden", [8, 100, 1000, 2000, 3000])
def test_a_grid_has_no_more_programs_than_run_at_the_same_time(
    device: DeviceLimits, hidden: int
) -> None:
    for plan, phase in plan_loops("rnn", hidden=hidden):
        for rows in (1, 50, 250):
            choice = choose_strategy(plan, phase, DeviceContext(device, 2, "ieee", rows))
            if choice.strategy == "grid":
                assert choice.layout is not None
                programs = choice.layout.slices * choice.layout.row_groups(rows, device)
                assert 0 < programs <= device.multiprocessors
                assert choice.layout.slices * choice.layout.slice_width >= hidden


@pytest.mark.parametrize(
    ("registers", "shared", "threads", "occupancy"),
    [(32, 0, 1024, 2), (64, 1024, 256, 4), (255, 0, 256, 1), (32, 100 * 1024, 128, 2)],
)
def test_how_many_programs_a_multiprocessor_holds(
    registers: int, shared: int, threads: int, occupancy: int
) -> None:
    assert H200.resident_programs(registers, shared, threads) == occupancy


def test_a_tier_is_named_with_what_it_takes_and_why_no_other_runs() -> None:
    ((plan, phase), _) = plan_loops("lstm", hidden=512)
    description = describe_strategy(plan, phase)
    assert description.startswith(
        "tier grid (64 programs a row, that meet after each product), float32 on"
    )
    assert re.search(
        r"(\d+ KB of shared memory a program by estimate|registers a thread)", description
    )
    why = r"; not chip: its weights need \d+ KB of shared memory, and a multiprocessor of .* has"
    assert re.search(why, description)


def test_inspect_names_the_tier_of_each_loop() -> None:
    shown = CliRunner().invoke(
        inspect, ["zoo:dts_rnn", "--set", "hidden=64", "--plan", "--backend", "cuda"]
    )
    assert shown.exit_code == 0
    assert shown.output.count("tier chip") == 2
    document = CliRunner().invoke(inspect, ["zoo:rnn", "--plan", "--backend", "cuda", "--json"])
    phases = json.loads(document.output)["plan"]["phases"]
    assert all(phase["backend"] == "cuda" and phase["why"] for phase in phases)
    wrong = CliRunner().invoke(inspect, ["zoo:rnn", "--plan", "--backend", "moon"])
    assert wrong.exit_code == 2
    assert "there is no backend `moon`" in wrong.output
