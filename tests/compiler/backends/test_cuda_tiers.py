"""Which tier a loop gets is decided from sizes alone, and every refusal says why."""

from __future__ import annotations

import pytest

import rnnc
from rnnc.compiler.backends.cuda.chip import H200
from rnnc.compiler.backends.cuda.extents import extents_of, padded
from rnnc.compiler.backends.cuda.shapes import Setting
from rnnc.compiler.backends.cuda.tiers import VARIABLE, choose, forced_tier
from rnnc.compiler.plan import Phase, Plan
from rnnc.compiler.planner import Planner
from rnnc.compiler.request import training_request
from rnnc.operators.analyse import analyse
from rnnc.operators.shipped import zoo_source


def loops(name: str, **sizes: int) -> list[tuple[Plan, Phase]]:
    graph = analyse(zoo_source(name), parameters=sizes, assume=False).graph
    assert graph is not None
    plan = Planner(graph, sink=True)(training_request(graph))
    return [(plan, phase) for phase in plan.phases if phase.kind == "loop"]


@pytest.mark.parametrize("size", [1, 6, 16, 17, 33, 100, 128, 200, 256, 511, 1000])
def test_parts_cover_a_size_once(size: int) -> None:
    parts = extents_of(size)
    assert [first for first, _ in parts] == [
        sum(extent for _, extent in parts[:at]) for at in range(len(parts))
    ]
    assert size <= padded(size) < size + 64
    assert all(extent & (extent - 1) == 0 and 16 <= extent <= 128 for _, extent in parts)


def test_a_faster_tier_that_is_refused_says_why() -> None:
    for plan, phase in loops("lstm", hidden=4096):
        found = choose(plan, phase, Setting(H200))
        assert found.tier == "graph"
        assert [tier for tier, _ in found.refused] == ["chip", "grid"]
        assert all(why for _, why in found.refused)


def test_a_tier_that_is_forced_is_taken_or_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ((plan, phase), _) = loops("lstm", hidden=4096)
    assert choose(plan, phase, Setting(H200), "graph").refused == ()
    with pytest.raises(rnnc.RnnError, match="RNNC_CUDA_TIER=chip, but that tier cannot run this"):
        choose(plan, phase, Setting(H200), "chip")
    assert forced_tier() is None
    monkeypatch.setenv(VARIABLE, "grid")
    assert forced_tier() == "grid"
    monkeypatch.setenv(VARIABLE, "moon")
    with pytest.raises(rnnc.RnnError, match="RNNC_CUDA_TIER=moon, but the tiers are chip, grid"):
        forced_tier()
