"""Loops that keep their weights on chip, in Triton's interpreter: values and every gradient.

Stores are seen by nobody before a barrier or the end of a launch, all buffers begin as NaN, and
tiles have fewer rows than a batch, so that a stage that reads too early, or reads what nobody has
written, is seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

import rnnc
from rnnc.compiler.backends.cuda.autotune import strategy_selection
from rnnc.compiler.backends.cuda.codegen import kernel_file, persistent_kernels, persistent_tile
from rnnc.compiler.backends.cuda.execution import engine
from rnnc.compiler.backends.cuda.execution.cooperative_launch import CooperativeLaunches
from rnnc.compiler.backends.cuda.schedule import loop_strategy, persistent_layout
from rnnc.compiler.backends.cuda.schedule.block_parallelism import partition_independent_stages
from rnnc.compiler.backends.cuda.schedule.loop_strategy import STRATEGY_VARIABLE
from rnnc.compiler.plan_cache import PlanCache
from rnnc.compiler.request import training_request
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from rnnc.operators.sources.zoo import zoo_names
from support.comparison import random_arguments
from support.comparison.agreement import assert_agree
from support.comparison.assertions import assert_close
from support.faults.concurrent_programs import run_concurrently
from support.faults.poisoned_memory import poison_memory
from support.faults.weak_memory import WeakMemory, delay_stores
from support.generator import random_spec
from support.specs.independent_columns import INDEPENDENT_COLUMNS
from support.specs.small_zoo import small_sizes
from support.specs.windows_in_cycles import has_window_in_a_cycle

pytestmark = [
    pytest.mark.triton,
    # Entries outside of a tile are computed too, and may overflow, but are never stored.
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

EVERYTHING = {"steps": 7, "rows": 3, "ragged": True, "reset": True, "carry": True}
CALLS: dict[str, dict[str, Any]] = {
    "everything": EVERYTHING,
    "plain": {"steps": 5, "rows": 5},
    "one row, one step": {"steps": 1, "rows": 1},
    "evaluation": {"steps": 3, "rows": 2, "carry": True, "training": False},
    "no steps": {"steps": 0, "rows": 2, "carry": True},
    "no rows": {"steps": 3, "rows": 0},
}
TIERS = ["chip", "grid"]


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Force a strategy, with tiles of two rows."""
    monkeypatch.setenv(STRATEGY_VARIABLE, request.param)
    select = strategy_selection.select_strategies

    def select_small_tiles(*said: Any) -> Any:
        choices = select(*said)
        return {
            number: replace(choice, layout=replace(choice.layout, row_tile=2))
            for number, choice in choices.items()
            if choice.layout is not None
        }

    monkeypatch.setattr(
        "rnnc.compiler.backends.cuda.execution.engine.select_strategies", select_small_tiles
    )
    return str(request.param)


@pytest.fixture(autouse=True)
def weak_memory(monkeypatch: pytest.MonkeyPatch) -> WeakMemory:
    return delay_stores(monkeypatch)


@pytest.fixture(autouse=True)
def poison_all_memory() -> Iterator[None]:
    with poison_memory():
        yield


@pytest.mark.parametrize("name", zoo_names())
def test_the_zoo_agrees_with_the_reference(tier: str, name: str) -> None:
    assert_agree(f"zoo:{name}", "cuda", sizes=small_sizes(name), seed=1, **EVERYTHING)


@pytest.mark.parametrize("seed", range(24))
def test_random_specs_agree_with_the_reference(tier: str, seed: int) -> None:
    spec = random_spec(seed)
    graph = analyze(Source(spec.text), parameters=spec.sizes).graph
    assert graph is not None
    if has_window_in_a_cycle(graph):
        pytest.skip("no kernel looks through a window in a loop: aten runs it")
    names = list(CALLS)
    for name in dict.fromkeys(("everything", names[seed % len(names)])):
        assert_agree(spec.text, "cuda", sizes=spec.sizes, seed=seed, **CALLS[name])


@pytest.mark.parametrize("hidden", [17, 40])
@pytest.mark.parametrize("name", ["lstm", "dts_rnn"])
def test_sizes_that_are_no_powers_of_two_agree(tier: str, name: str, hidden: int) -> None:
    sizes = small_sizes(name, hidden=hidden)
    assert_agree(f"zoo:{name}", "cuda", sizes=sizes, seed=2, steps=3, rows=3, reset=True)


def test_several_tiles_of_columns_agree(tier: str) -> None:
    call = {"steps": 2, "rows": 3, "ragged": True}
    assert_agree("zoo:rnn", "cuda", sizes=small_sizes("rnn", hidden=150), seed=3, **call)


@pytest.mark.parametrize("which", INDEPENDENT_COLUMNS)
def test_independent_columns_go_to_programs_of_their_own(which: str) -> None:
    text = INDEPENDENT_COLUMNS[which]
    graph = analyze(Source(text)).graph
    assert graph is not None
    plan = PlanCache(graph, sink_elementwise=True)(training_request(graph))
    parts = [
        partition_independent_stages(plan, phase.values)[1]
        for phase in plan.phases
        if phase.kind == "loop"
    ]
    assert set(parts) == {2 if which == "no products" else 4}
    assert_agree(text, "cuda", seed=4, **EVERYTHING)


def test_a_block_that_reads_its_neighbour_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    text = INDEPENDENT_COLUMNS["blocks of an LSTM"]
    vector_expression = persistent_tile.PersistentTile.vector_expression

    def read_neighbor(tile: Any, read: Any, first: int, depth: int, columns: str = "k") -> str:
        return vector_expression(tile, read, first, depth, columns.replace("part", "(part ^ 1)"))

    monkeypatch.setattr(persistent_tile.PersistentTile, "vector_expression", read_neighbor)
    with pytest.raises(AssertionError, match="off by"):
        assert_agree(text, "cuda", seed=4, **EVERYTHING)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", ["lstm", "gru", "dts_rnn"])
def test_narrow_types_are_as_near_as_their_rounding(
    tier: str, name: str, dtype: torch.dtype
) -> None:
    ours = rnnc.compile(f"zoo:{name}", backend="cuda", parameters=small_sizes(name)).to(dtype)
    random_arguments.randomize_parameters(ours, 3)
    theirs = rnnc.compile(f"zoo:{name}", backend="reference", parameters=small_sizes(name)).double()
    theirs.load_state_dict({k: v.double() for k, v in ours.state_dict().items()})
    feed = random_arguments.feed(ours, 6, 3, seed=3, ragged=True)
    y, state = feed.call(ours)
    exact = {k: v.double() for k, v in feed.inputs.items()}
    expected, last = replace(feed, inputs=exact).call(theirs)
    tolerance = {torch.float32: 2e-6, torch.float16: 4e-3}[dtype]
    assert y.dtype == dtype
    assert_close(y.double(), expected, tolerance)
    assert_close([s.double() for s in state], list(last), tolerance)
    y.sum().backward()
    expected.sum().backward()
    for ours_, theirs_ in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(ours_.grad.double(), theirs_.grad, 4 * tolerance)


def run_one_program(monkeypatch: pytest.MonkeyPatch, patience: int = 5, columns: int = 64) -> None:
    """Run grid-persistent kernels as on a GPU, with a given number of columns per program."""
    lay_out = persistent_layout.grid_persistent_layout

    def lay_out_slices(stages: Any, setting: Any) -> Any:
        found = lay_out(stages, setting)
        width = max(stage.width for stage in stages.stages)
        return replace(found, slice_width=columns, slices=-(-width // columns))

    def run_on_gpu_path(
        start: Any, levels: int, groups: int, size: Any, meetings: Any, device: Any
    ) -> None:
        counters = meetings.allocate_counters(groups, device)
        start(*size, 0, size[0], patience, counters, LEVEL=-1)
        meetings.track(counters)

    monkeypatch.setattr(
        "rnnc.compiler.backends.cuda.schedule.loop_strategy.grid_persistent_layout", lay_out_slices
    )
    monkeypatch.setattr(
        "rnnc.compiler.backends.cuda.execution.engine.run_cooperative", run_on_gpu_path
    )


@pytest.mark.parametrize("name", ["lstm", "dts_rnn", "birnn"])
def test_a_whole_grid_of_one_program_meets_itself(
    monkeypatch: pytest.MonkeyPatch, tier: str, name: str
) -> None:
    run_one_program(monkeypatch)
    assert_agree(f"zoo:{name}", "cuda", sizes=small_sizes(name), seed=1, **EVERYTHING)


@pytest.mark.parametrize("name", ["lstm", "dts_rnn"])
def test_programs_in_processes_of_their_own_meet(
    weak_memory: WeakMemory, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Two programs per row, two row groups, with real atomic counters and real waiting."""
    monkeypatch.setenv(STRATEGY_VARIABLE, "grid")
    grids: list[tuple[int, ...]] = []

    def run_and_record_grid(start: Any, *said: Any) -> None:
        grids.append(start.grid)
        run_concurrently(start, *said)

    lay_out = persistent_layout.grid_persistent_layout
    monkeypatch.setattr(
        loop_strategy, "grid_persistent_layout", lambda *said: replace(lay_out(*said), row_tile=2)
    )
    monkeypatch.setattr(engine, "run_cooperative", run_and_record_grid)
    sizes = small_sizes(name, hidden=12)
    assert_agree(f"zoo:{name}", "cuda", sizes=sizes, seed=1, **{**EVERYTHING, "steps": 4})
    assert grids == [(2, 2)] * 2


def test_programs_that_do_not_wait_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STRATEGY_VARIABLE, "grid")
    monkeypatch.setattr(engine, "run_cooperative", partial(run_concurrently, at_once=False))
    monkeypatch.setattr(
        kernel_file,
        "BARRIER_SOURCE",
        kernel_file.BARRIER_SOURCE.replace("arrived < target", "arrived < 0"),
    )
    sizes = small_sizes("dts_rnn", hidden=12)
    with pytest.raises(AssertionError, match=r"off by|nan"):
        assert_agree("zoo:dts_rnn", "cuda", sizes=sizes, seed=1, steps=3, rows=2)


def test_a_missing_barrier_is_seen(
    weak_memory: WeakMemory, monkeypatch: pytest.MonkeyPatch, tier: str
) -> None:
    run_one_program(monkeypatch)
    call = {"sizes": small_sizes("dts_rnn"), "seed": 1, "steps": 3, "rows": 2}
    assert_agree("zoo:dts_rnn", "cuda", **call)
    # A grid barrier contains two block barriers: before the counter, and after it.
    each = 2 if tier == "grid" else 1
    count, seen = weak_memory.barrier_count // each, []
    for missing in range(count):
        weak_memory.barrier_count, weak_memory.skipped_barriers = (
            0,
            frozenset(each * missing + i for i in range(1, each + 1)),
        )
        try:
            assert_agree("zoo:dts_rnn", "cuda", **call)
        except AssertionError:
            seen.append(missing)
    # Two stages, three steps, forward and backward; the stores of the last stages have no reader.
    assert count == 12
    assert seen == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]


def test_a_stage_that_is_read_too_early_is_seen(monkeypatch: pytest.MonkeyPatch, tier: str) -> None:
    monkeypatch.setattr(
        persistent_kernels, "stage_levels", lambda tile: [range(len(tile.partition.stages))]
    )
    with pytest.raises(AssertionError, match=r"off by|nan"):
        assert_agree("zoo:dts_rnn", "cuda", sizes=small_sizes("dts_rnn"), seed=1, steps=3, rows=2)


def test_a_wrong_tail_is_seen(monkeypatch: pytest.MonkeyPatch, tier: str) -> None:
    monkeypatch.setattr(persistent_kernels, "_ROW_MASK", "row_mask = b < B - 1")
    with pytest.raises(AssertionError, match=r"off by|nan"):
        assert_agree("zoo:gru", "cuda", sizes=small_sizes("gru"), seed=1, steps=3, rows=3)


def test_who_waits_in_vain_gives_up_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sequential interpretation makes the first program wait for the second in vain."""
    monkeypatch.setenv(STRATEGY_VARIABLE, "grid")
    model = rnnc.compile("zoo:rnn", backend="cuda", parameters=small_sizes("rnn", hidden=12))
    feed = random_arguments.feed(model, 3, 2, seed=1)
    feed.call(model)
    run_one_program(monkeypatch, columns=8)
    model = rnnc.compile("zoo:rnn", backend="cuda", parameters=small_sizes("rnn", hidden=12))
    with pytest.raises(rnnc.RnnError, match=r"RNN505.*waited in vain"):
        feed.call(model)
    monkeypatch.setattr(CooperativeLaunches, "track", lambda meetings, counters: None)
    y, _ = feed.call(model)
    assert y.isnan().any()


def test_a_machine_that_cannot_start_a_kernel_takes_the_next_tier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class OutOfResources(Exception):
        pass

    tried: list[str] = []

    run_kernels = engine.CudaEngine._run_loop_kernels

    def fail_persistent(self: Any, program: Any, kernels: Any, memory: Any) -> None:
        if kernels[0].kind in {"chip", "grid"}:
            tried.append(kernels[0].kind)
            raise OutOfResources("out of resource: shared memory")
        run_kernels(self, program, kernels, memory)

    monkeypatch.setattr(engine.CudaEngine, "_run_loop_kernels", fail_persistent)
    assert_agree("zoo:rnn", "cuda", sizes=small_sizes("rnn"), seed=1, steps=3, rows=2)
    assert tried == ["chip", "grid"] * 2
    monkeypatch.setenv(STRATEGY_VARIABLE, "chip")
    with pytest.raises(rnnc.RnnError, match="the GPU does not start its kernel"):
        assert_agree("zoo:rnn", "cuda", sizes=small_sizes("rnn"), seed=1, steps=3, rows=2)
