"""Slices and stages of phases: each entry is computed once, after its operands."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from rnnc.compiler.backends.cuda.autotune.strategy_selection import select_strategies
from rnnc.compiler.backends.cuda.codegen.kernel_arguments import KernelVariant
from rnnc.compiler.backends.cuda.codegen.kernel_file import generate_kernel_file
from rnnc.compiler.backends.cuda.schedule.device_limits import H200
from rnnc.compiler.backends.cuda.schedule.kernel_partition import StagePartition, partition_stages
from rnnc.compiler.backends.cuda.schedule.loop_strategy import STRATEGIES, LoopStrategy
from rnnc.compiler.backends.cuda.schedule.persistent_layout import DeviceContext
from rnnc.compiler.backends.cuda.schedule.slice_decomposition import (
    MOVEMENT_OPS,
    MemorySlice,
    ValueSlice,
)
from rnnc.compiler.ir.ops import WHOLE_VECTOR_OPS
from rnnc.compiler.plan_cache import PlanCache
from rnnc.compiler.request import training_request
from rnnc.compiler.schedule.plan import Plan
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from rnnc.operators.sources.zoo import zoo_source
from support.generator import random_spec


def build_plan(source: Source, **sizes: int) -> Plan:
    graph = analyze(source, parameters=sizes, assume_missing=False).graph
    assert graph is not None
    return PlanCache(graph, sink_elementwise=True)(training_request(graph, inputs=True, carry=True))


def partition_loops(plan: Plan) -> list[StagePartition]:
    return [partition_stages(plan, phase.values) for phase in plan.phases if phase.kind == "loop"]


def assert_ordered(partition: StagePartition) -> None:
    """Assert that each slice is computed once, after its operands are computed or stored."""
    dataflow, decomposition = partition.plan.dataflow, partition.decomposition
    stage_index = {
        value_slice: index for index, s in enumerate(partition.stages) for value_slice in s.slices
    }
    assert len(stage_index) == sum(len(s.slices) for s in partition.stages)
    store_levels = {
        (store.buffer, store.offset): stage.level
        for stage in partition.stages
        for store in stage.stores
    }
    for value_id in decomposition.local_values:
        value = dataflow.values[value_id]
        if value.operation in MOVEMENT_OPS:
            continue
        assert decomposition.slices_of(value_id)[0].start == 0
        for piece in decomposition.slices_of(value_id):
            stage = partition.stages[stage_index[piece]]
            assert piece.width == stage.width
            for operand in value.operands:
                if operand.value not in decomposition.local_values or operand.delay:
                    continue
                if value.operation in WHOLE_VECTOR_OPS:
                    region = partition.plan.regions[operand.value]
                    assert region is not None
                    for operand_slice in decomposition.slices_of(operand.value):
                        source = decomposition.resolve(
                            operand, operand_slice.start, operand_slice.stop
                        )
                        level = store_levels.get(
                            (region.buffer, region.offset + operand_slice.start)
                        )
                        assert level is not None or isinstance(source, MemorySlice), operand_slice
                        assert level is None or level < stage.level
                    continue
                source = partition.resolve_operand(piece, operand)
                if isinstance(source, ValueSlice):
                    earlier = partition.stages[stage_index[source]]
                    is_same_stage = partition.resolve_operand(piece, operand) in stage.slices
                    assert is_same_stage or earlier.level < stage.level


@pytest.mark.parametrize("seed", range(60))
def test_random_loops_are_in_order(seed: int) -> None:
    spec = random_spec(seed)
    for stages in partition_loops(build_plan(Source(spec.text), **spec.sizes)):
        assert_ordered(stages)


def test_the_check_sees_a_stage_too_early() -> None:
    (forward, _) = partition_loops(build_plan(zoo_source("dts_rnn")))
    first, second = forward.stages
    assert_ordered(forward)
    with pytest.raises(AssertionError):
        assert_ordered(
            StagePartition(forward.plan, forward.decomposition, (first, replace(second, level=0)))
        )


def test_all_gates_of_an_lstm_are_one_stage() -> None:
    forward = partition_loops(build_plan(zoo_source("lstm")))[0]
    (stage,) = forward.stages
    matmuls = [
        p for p in stage.slices if forward.plan.dataflow.values[p.value].operation == "matmul"
    ]
    assert [(p.start, p.stop) for p in matmuls] == [(0, 200), (200, 400), (400, 600), (600, 800)]


def test_a_copied_part_is_there_before_the_product_that_reads_it() -> None:
    # This spec concatenates a value of another phase, which must be copied before the matmul.
    spec = random_spec(33)
    for stages in partition_loops(build_plan(Source(spec.text), **spec.sizes)):
        assert_ordered(stages)


@pytest.mark.parametrize("variant", [KernelVariant(), KernelVariant(resets=True, lengths=True)])
@pytest.mark.parametrize("name", ["lstm", "gru", "dts_rnn", "mingru", "cb_rnn", "rhn"])
@pytest.mark.parametrize("tier", STRATEGIES)
def test_sources_are_python_whose_numbers_are_not_added_atomically(
    name: str, variant: KernelVariant, tier: LoopStrategy
) -> None:
    plan = build_plan(zoo_source(name), hidden=32)
    file = generate_kernel_file(plan, variant, select_strategies(plan, DeviceContext(H200), tier))
    compile(file.source, name, "exec")
    assert file.source.count("atomic") == (
        2 if tier == "grid" and "grid_barrier(" in file.source else 0
    )
    # T and B are 32-bit integers whose product may overflow 32 bits.
    assert not re.search(r"\bsteps( - \w+)?\)? \* B\b", file.source)
    assert ("same_segment" in file.source) == variant.resets
    assert ("valid" in file.source) <= variant.lengths
