"""Phases in pieces and stages: every number is computed once, after all that it needs."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from rnnc.compiler.backends.cuda.autotune.strategy_selection import choices_of
from rnnc.compiler.backends.cuda.codegen.kernel_arguments import Case
from rnnc.compiler.backends.cuda.codegen.kernel_file import program_of
from rnnc.compiler.backends.cuda.schedule.device_limits import H200
from rnnc.compiler.backends.cuda.schedule.kernel_partition import Stages, stages_of
from rnnc.compiler.backends.cuda.schedule.loop_strategy import TIERS, Tier
from rnnc.compiler.backends.cuda.schedule.persistent_layout import Setting
from rnnc.compiler.backends.cuda.schedule.slice_decomposition import ALIASES, Load, Piece
from rnnc.compiler.ir.ops import WIDE
from rnnc.compiler.plan_cache import Planner
from rnnc.compiler.request import training_request
from rnnc.compiler.schedule.plan import Plan
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyse
from rnnc.operators.sources.zoo import zoo_source
from support.generator import random_spec


def plan_of(source: Source, **sizes: int) -> Plan:
    graph = analyse(source, parameters=sizes, assume=False).graph
    assert graph is not None
    return Planner(graph, sink=True)(training_request(graph, inputs=True, history=True))


def loops(plan: Plan) -> list[Stages]:
    return [stages_of(plan, phase.values) for phase in plan.phases if phase.kind == "loop"]


def check(stages: Stages) -> None:
    """Each piece is computed once; what it reads was computed before, or is in memory by then."""
    flow, pieces = stages.plan.flow, stages.pieces
    at = {piece: index for index, s in enumerate(stages.stages) for piece in s.pieces}
    assert len(at) == sum(len(s.pieces) for s in stages.stages)
    stored = {
        (store.buffer, store.start): stage.level
        for stage in stages.stages
        for store in stage.stores
    }
    for number in pieces.inside:
        value = flow.values[number]
        if value.operation in ALIASES:
            continue
        assert pieces.of(number)[0].start == 0
        for piece in pieces.of(number):
            stage = stages.stages[at[piece]]
            assert piece.width == stage.width
            for read in value.operands:
                if read.value not in pieces.inside or read.delay:
                    continue
                if value.operation in WIDE:
                    place = stages.plan.places[read.value]
                    assert place is not None
                    for part in pieces.of(read.value):
                        source = pieces.find(read, part.start, part.stop)
                        level = stored.get((place.buffer, place.start + part.start))
                        assert level is not None or isinstance(source, Load), part
                        assert level is None or level < stage.level
                    continue
                source = stages.operand(piece, read)
                if isinstance(source, Piece):
                    earlier = stages.stages[at[source]]
                    same = stages.operand(piece, read) in stage.pieces
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
        check(Stages(forward.plan, forward.pieces, (first, replace(second, level=0))))


def test_all_gates_of_an_lstm_are_one_stage() -> None:
    forward = loops(plan_of(zoo_source("lstm")))[0]
    (stage,) = forward.stages
    products = [p for p in stage.pieces if forward.plan.flow.values[p.value].operation == "matmul"]
    assert [(p.start, p.stop) for p in products] == [(0, 200), (200, 400), (400, 600), (600, 800)]


def test_a_copied_part_is_there_before_the_product_that_reads_it() -> None:
    # The part of a concatenation that another phase computed is copied before it is multiplied.
    spec = random_spec(33)
    for stages in loops(plan_of(Source(spec.text), **spec.sizes)):
        check(stages)


@pytest.mark.parametrize("case", [Case(), Case(resets=True, lengths=True)])
@pytest.mark.parametrize("name", ["lstm", "gru", "dts_rnn", "mingru", "cb_rnn", "rhn"])
@pytest.mark.parametrize("tier", TIERS)
def test_sources_are_python_whose_numbers_are_not_added_atomically(
    name: str, case: Case, tier: Tier
) -> None:
    plan = plan_of(zoo_source(name), hidden=32)
    program = program_of(plan, case, choices_of(plan, Setting(H200), tier))
    compile(program.source, name, "exec")
    assert program.source.count("atomic") == (
        2 if tier == "grid" and "meet(" in program.source else 0
    )
    # T and B are 32-bit numbers, and their product need not be one.
    assert not re.search(r"\bsteps( - \w+)?\)? \* B\b", program.source)
    assert ("linked" in program.source) == case.resets
    assert ("alive" in program.source) <= case.lengths
