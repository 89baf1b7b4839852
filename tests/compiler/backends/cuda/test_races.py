"""Between two barriers no memory is both read and written: there the threads have no order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from rnnc.compiler.backends.cuda.codegen.kernel_arguments import KernelVariant
from rnnc.compiler.backends.cuda.codegen.persistent_kernels import stage_levels
from rnnc.compiler.backends.cuda.codegen.persistent_tile import PersistentTile
from rnnc.compiler.backends.cuda.schedule.block_parallelism import partition_independent_stages
from rnnc.compiler.backends.cuda.schedule.kernel_partition import StagePartition, partition_stages
from rnnc.compiler.backends.cuda.schedule.persistent_layout import PersistentLayout
from rnnc.compiler.errors import Unsupported
from rnnc.compiler.ir.dataflow import Operand
from rnnc.compiler.plan_cache import PlanCache
from rnnc.compiler.request import training_request
from rnnc.compiler.schedule.plan import Plan
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from rnnc.operators.sources.zoo import zoo_names, zoo_source
from support.generator import random_spec
from support.specs.small_zoo import small_sizes

Region = tuple[int, int, int, int]
"""(buffer, rows further on in steps, first entry, end)."""


@dataclass
class Watched(PersistentTile):
    """A tile that notes what the stages written so far read and write."""

    read: list[Region] = field(default_factory=list)
    written: list[Region] = field(default_factory=list)

    def load_expression(self, operand: Operand, start: int, stop: int, **how: Any) -> str:
        place = self.plan.regions[operand.value]
        if place is not None and self.plan.phase_of.get(operand.value) is not None:
            buffer = self.plan.buffers[place.buffer]
            whole = how.get("columns", "u") not in {"u", "k"} or how.get("scalar")
            first, end = (0, buffer.width) if whole else (place.offset + start, place.offset + stop)
            shift = 0 if buffer.extent == "step" else buffer.steps_before - operand.delay
            self.read.append((place.buffer, shift, first, end))
        return super().load_expression(operand, start, stop, **how)

    def emit_store(self, store: Any, local_slices: Any) -> Any:
        buffer = self.plan.buffers[store.buffer]
        shift = 0 if buffer.extent == "step" else buffer.steps_before
        self.written.append((store.buffer, shift, store.offset, store.offset + store.width))
        return super().emit_store(store, local_slices)


def races(stages: StagePartition, parts: int = 1) -> list[tuple[Region, Region]]:
    """What one level both reads and writes, or writes twice."""
    case = KernelVariant(resets=True, lengths=True)
    shape = PersistentLayout(16, parts, 0, parts > 1, 4, 0)
    tile = Watched(stages, case, freeze_ended_rows=True, layout=shape)
    found = []
    for level in list(stage_levels(tile)):
        tile.read, tile.written = [], []
        for index in level:
            list(tile.emit_stage(index))
        # Tiles of columns repeat what one stage does to its regions.
        written = list(dict.fromkeys(tile.written))
        found += [(a, b) for a in tile.read for b in written if _meet(a, b)]
        found += [(a, b) for a in written for b in written if a < b and _meet(a, b)]
    return found


def _meet(a: Region, b: Region) -> bool:
    return a[:2] == b[:2] and a[2] < b[3] and b[2] < a[3]


def plan_of(source: Source, sizes: dict[str, int]) -> Plan:
    graph = analyze(source, parameters=sizes, assume_missing=False).graph
    assert graph is not None
    return PlanCache(graph, sink_elementwise=True)(training_request(graph, inputs=True, carry=True))


def check(plan: Plan) -> None:
    for phase in plan.phases:
        if phase.kind == "loop":
            assert not races(partition_stages(plan, phase.values))
            assert not races(*partition_independent_stages(plan, phase.values))


@pytest.mark.parametrize("name", zoo_names())
def test_the_zoo_has_no_races(name: str) -> None:
    check(plan_of(zoo_source(name), small_sizes(name)))


@pytest.mark.parametrize("seed", range(60))
def test_random_specs_have_no_races(seed: int) -> None:
    spec = random_spec(seed)
    try:
        check(plan_of(Source(spec.text), spec.sizes))
    except Unsupported as error:
        pytest.skip(f"the backend refuses it: {error}")


def test_a_race_is_seen() -> None:
    plan = plan_of(zoo_source("dts_rnn"), {})
    stages = next(partition_stages(plan, p.values) for p in plan.phases if p.kind == "loop")
    assert not races(stages)
    first, second = stages.stages
    assert races(
        StagePartition(
            stages.plan, stages.decomposition, (first, replace(second, level=first.level))
        )
    )
