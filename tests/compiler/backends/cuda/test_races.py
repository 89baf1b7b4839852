"""No memory is both read and written between two barriers, where threads are unordered."""

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
"""(buffer, offset in steps, first entry, end)."""


@dataclass
class RecordingTile(PersistentTile):
    """An emitter that records the regions that emitted stages read and write."""

    reads: list[Region] = field(default_factory=list)
    writes: list[Region] = field(default_factory=list)

    def load_expression(self, operand: Operand, start: int, stop: int, **options: Any) -> str:
        region = self.plan.regions[operand.value]
        if region is not None and self.plan.phase_of.get(operand.value) is not None:
            buffer = self.plan.buffers[region.buffer]
            is_whole_row = options.get("columns", "u") not in {"u", "k"} or options.get("scalar")
            first, end = (
                (0, buffer.width) if is_whole_row else (region.offset + start, region.offset + stop)
            )
            shift = 0 if buffer.extent == "step" else buffer.steps_before - operand.delay
            self.reads.append((region.buffer, shift, first, end))
        return super().load_expression(operand, start, stop, **options)

    def emit_store(self, store: Any, local_slices: Any) -> Any:
        buffer = self.plan.buffers[store.buffer]
        shift = 0 if buffer.extent == "step" else buffer.steps_before
        self.writes.append((store.buffer, shift, store.offset, store.offset + store.width))
        return super().emit_store(store, local_slices)


def find_races(partition: StagePartition, parts: int = 1) -> list[tuple[Region, Region]]:
    """Return pairs of regions that one level both reads and writes, or writes twice."""
    variant = KernelVariant(resets=True, lengths=True)
    layout = PersistentLayout(16, parts, 0, parts > 1, 4, 0)
    tile = RecordingTile(partition, variant, freeze_ended_rows=True, layout=layout)
    conflicts = []
    for level in list(stage_levels(tile)):
        tile.reads, tile.writes = [], []
        for index in level:
            list(tile.emit_stage(index))
        # Each column tile of a stage records the same regions.
        writes = list(dict.fromkeys(tile.writes))
        conflicts += [(a, b) for a in tile.reads for b in writes if _overlap(a, b)]
        conflicts += [(a, b) for a in writes for b in writes if a < b and _overlap(a, b)]
    return conflicts


def _overlap(a: Region, b: Region) -> bool:
    return a[:2] == b[:2] and a[2] < b[3] and b[2] < a[3]


def build_plan(source: Source, sizes: dict[str, int]) -> Plan:
    graph = analyze(source, parameters=sizes, assume_missing=False).graph
    assert graph is not None
    return PlanCache(graph, sink_elementwise=True)(training_request(graph, inputs=True, carry=True))


def assert_no_races(plan: Plan) -> None:
    for phase in plan.phases:
        if phase.kind == "loop":
            assert not find_races(partition_stages(plan, phase.values))
            assert not find_races(*partition_independent_stages(plan, phase.values))


@pytest.mark.parametrize("name", zoo_names())
def test_the_zoo_has_no_races(name: str) -> None:
    assert_no_races(build_plan(zoo_source(name), small_sizes(name)))


@pytest.mark.parametrize("seed", range(60))
def test_random_specs_have_no_races(seed: int) -> None:
    spec = random_spec(seed)
    try:
        assert_no_races(build_plan(Source(spec.text), spec.sizes))
    except Unsupported as error:
        pytest.skip(f"the backend refuses it: {error}")


def test_a_race_is_seen() -> None:
    plan = build_plan(zoo_source("dts_rnn"), {})
    stages = next(partition_stages(plan, p.values) for p in plan.phases if p.kind == "loop")
    assert not find_races(stages)
    first, second = stages.stages
    assert find_races(
        StagePartition(
            stages.plan, stages.decomposition, (first, replace(second, level=first.level))
        )
    )
