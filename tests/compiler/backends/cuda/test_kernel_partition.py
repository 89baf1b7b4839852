"""Phases in pieces and stages: every number is computed once, after all that it needs."""

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


def plan_of(source: Source, **sizes: int) -> Plan:
    graph = analyze(source, parameters=sizes, assume_missing=False).graph
    assert graph is not None
    return PlanCache(graph, sink_elementwise=True)(training_request(graph, inputs=True, carry=True))


def loops(plan: Plan) -> list[StagePartition]:
    return [partition_stages(plan, phase.values) for phase in plan.phases if phase.kind == "loop"]


def check(stages: StagePartition) -> None:
    """Each piece is computed once; what it reads was computed before, or is in memory by then."""
    flow, pieces = stages.plan.dataflow, stages.decomposition
    at = {piece: index for index, s in enumerate(stages.stages) for piece in s.slices}
    assert len(at) == sum(len(s.slices) for s in stages.stages)
    stored = {
        (store.buffer, store.offset): stage.level
        for stage in stages.stages
        for store in stage.stores
    }
    for number in pieces.local_values:
        value = flow.values[number]
        if value.operation in MOVEMENT_OPS:
            continue
        assert pieces.slices_of(number)[0].start == 0
        for piece in pieces.slices_of(number):
            stage = stages.stages[at[piece]]
            assert piece.width == stage.width
            for read in value.operands:
                if read.value not in pieces.local_values or read.delay:
                    continue
                if value.operation in WHOLE_VECTOR_OPS:
                    place = stages.plan.regions[read.value]
                    assert place is not None
                    for part in pieces.slices_of(read.value):
                        source = pieces.resolve(read, part.start, part.stop)
                        level = stored.get((place.buffer, place.offset + part.start))
                        assert level is not None or isinstance(source, MemorySlice), part
                        assert level is None or level < stage.level
                    continue
                source = stages.resolve_operand(piece, read)
                if isinstance(source, ValueSlice):
                    earlier = stages.stages[at[source]]
                    same = stages.resolve_operand(piece, read) in stage.slices
                    assert same or earlier.level < stage.level


@pytest.mark.parametrize("seed", range(60))
def test_random_loops_are_in_order(seed: int) -> None:
    spec = random_spec(seed)
    for stages in loops(plan_of(Source(spec.text), **spec.sizes)):
        check(stages)


def test_the_check_sees_a_stage_too_early() -> None:
    (forward, _) = loops(plan_of(zoo_source("dts_rnn")))
    first, second = forward.stages
    check(forward)
    with pytest.raises(AssertionError):
        check(
            StagePartition(forward.plan, forward.decomposition, (first, replace(second, level=0)))
        )


def test_all_gates_of_an_lstm_are_one_stage() -> None:
    forward = loops(plan_of(zoo_source("lstm")))[0]
    (stage,) = forward.stages
    products = [
        p for p in stage.slices if forward.plan.dataflow.values[p.value].operation == "matmul"
    ]
    assert [(p.start, p.stop) for p in products] == [(0, 200), (200, 400), (400, 600), (600, 800)]


def test_a_copied_part_is_there_before_the_product_that_reads_it() -> None:
    # The part of a concatenation that another phase computed is copied before it is multiplied.
    spec = random_spec(33)
    for stages in loops(plan_of(Source(spec.text), **spec.sizes)):
        check(stages)


@pytest.mark.parametrize("case", [KernelVariant(), KernelVariant(resets=True, lengths=True)])
@pytest.mark.parametrize("name", ["lstm", "gru", "dts_rnn", "mingru", "cb_rnn", "rhn"])
@pytest.mark.parametrize("tier", STRATEGIES)
def test_sources_are_python_whose_numbers_are_not_added_atomically(
    name: str, case: KernelVariant, tier: LoopStrategy
) -> None:
    plan = plan_of(zoo_source(name), hidden=32)
    program = generate_kernel_file(plan, case, select_strategies(plan, DeviceContext(H200), tier))
    compile(program.source, name, "exec")
    assert program.source.count("atomic") == (
        2 if tier == "grid" and "meet(" in program.source else 0
    )
    # T and B are 32-bit numbers, and their product need not be one.
    assert not re.search(r"\bsteps( - \w+)?\)? \* B\b", program.source)
    assert ("linked" in program.source) == case.resets
    assert ("alive" in program.source) <= case.lengths
