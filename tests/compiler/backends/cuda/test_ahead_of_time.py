"""Kernels compiled ahead of time stay within the limits of each device.

TABLE is the specification: `yes` if all kernels of all loops of a training step must fit, without
spills and within shared memory; a number if a thread may spill that many bytes; `no` if the
strategy must be rejected. No GPU is needed: the assembler reports registers and spills.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

import rnnc
from rnnc.compiler.backends.cuda.autotune import kernel_resources
from rnnc.compiler.backends.cuda.autotune.kernel_resources import measure_resources
from rnnc.compiler.backends.cuda.autotune.strategy_report import describe_strategy
from rnnc.compiler.backends.cuda.autotune.strategy_selection import select_strategies
from rnnc.compiler.backends.cuda.autotune.tile_sizes import default_tiling
from rnnc.compiler.backends.cuda.codegen.kernel_arguments import KernelVariant
from rnnc.compiler.backends.cuda.codegen.kernel_file import KernelFile, generate_kernel_file
from rnnc.compiler.backends.cuda.schedule.device_limits import A100, H200, DeviceLimits
from rnnc.compiler.backends.cuda.schedule.loop_strategy import LoopStrategy
from rnnc.compiler.backends.cuda.schedule.matmul_precision import MatmulPrecision
from rnnc.compiler.backends.cuda.schedule.persistent_layout import DeviceContext
from rnnc.compiler.plan_cache import PlanCache
from rnnc.compiler.request import training_request
from rnnc.compiler.schedule.plan import Plan
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from rnnc.operators.sources.zoo import zoo_names, zoo_source
from support.specs.independent_columns import INDEPENDENT_COLUMNS
from support.specs.small_zoo import small_sizes

pytestmark = pytest.mark.triton

TYPES: dict[str, tuple[int, MatmulPrecision]] = {
    "bfloat16": (2, "ieee"),
    "float16": (2, "ieee"),
    "float32": (4, "tf32"),
    "float32,exact": (4, "tf32x3"),
}
SIZES = (64, 128, 256, 512, 1024)

# strategy, model, device, dtype, then one column per size
TABLE = """
chip rnn     sm_90 bfloat16         yes yes yes no  no
chip rnn     sm_90 float16          yes yes yes no  no
chip rnn     sm_90 float32          yes yes no  no  no
chip rnn     sm_90 float32,exact    yes yes no  no  no
chip lstm    sm_90 bfloat16         yes yes no  no  no
chip lstm    sm_90 float16          yes yes no  no  no
chip lstm    sm_90 float32          yes no  no  no  no
chip lstm    sm_90 float32,exact    yes no  no  no  no
chip dts_rnn sm_90 bfloat16         yes yes no  no  no
chip dts_rnn sm_90 float16          yes yes no  no  no
chip dts_rnn sm_90 float32          yes yes no  no  no
chip dts_rnn sm_90 float32,exact    yes no  no  no  no
chip rnn     sm_80 bfloat16         yes yes yes no  no
chip rnn     sm_80 float32          yes yes no  no  no
chip rnn     sm_80 float32,exact    yes yes no  no  no
chip lstm    sm_80 bfloat16         yes yes no  no  no
chip lstm    sm_80 float32          yes no  no  no  no
chip lstm    sm_80 float32,exact    yes no  no  no  no
chip dts_rnn sm_80 bfloat16         yes yes no  no  no
chip dts_rnn sm_80 float32          yes no  no  no  no
chip dts_rnn sm_80 float32,exact    yes no  no  no  no
grid rnn     sm_90 bfloat16         yes yes 8   yes yes
grid rnn     sm_90 float32          yes yes yes yes yes
grid rnn     sm_90 float32,exact    yes yes yes yes yes
grid lstm    sm_90 bfloat16         yes yes yes yes yes
grid lstm    sm_90 float16          yes yes yes yes yes
grid lstm    sm_90 float32          16  yes yes yes yes
grid lstm    sm_90 float32,exact    yes yes yes 128 no
grid dts_rnn sm_90 bfloat16         yes yes yes yes 8
grid dts_rnn sm_90 float32          yes yes yes yes yes
grid dts_rnn sm_90 float32,exact    yes yes yes 128 128
grid rnn     sm_80 bfloat16         yes yes 8   yes yes
grid rnn     sm_80 float32          yes yes yes yes yes
grid lstm    sm_80 bfloat16         yes yes yes yes 64
grid lstm    sm_80 float32          yes yes yes yes no
grid dts_rnn sm_80 bfloat16         16  yes yes yes 8
grid dts_rnn sm_80 float32          yes yes yes yes no
"""


def cells() -> Iterator[Any]:
    for line in TABLE.strip().splitlines():
        tier, name, device, type_, *limits = line.split()
        for hidden, limit in zip(SIZES, limits, strict=True):
            id_ = f"{tier}-{name}-{device}-{hidden}-{type_}"
            spilled_bytes = {"yes": 0, "no": None}.get(limit, int(limit) if limit.isdigit() else 0)
            yield pytest.param(tier, name, device, type_, hidden, spilled_bytes, id=id_)


def build_loop_plan(name: str, hidden: int) -> Plan:
    graph = analyze(zoo_source(name), parameters={"hidden": hidden}, assume_missing=False).graph
    assert graph is not None
    return PlanCache(graph, sink_elementwise=True)(training_request(graph))


def generate_graph_kernels(name: str, hidden: int, variant: KernelVariant) -> KernelFile:
    """Generate the kernels of strategy `graph`, which runs every loop."""
    plan = build_loop_plan(name, hidden)
    return generate_kernel_file(
        plan, variant, select_strategies(plan, DeviceContext(H200), "graph")
    )


def assert_fits(file: KernelFile, type_: str, device: DeviceLimits, spilled_bytes: int = 0) -> None:
    """Assert the limits on spills and shared memory for all kernels of loops and scans."""
    element_size, precision = TYPES[type_]
    for kernels in file.loop_kernels.values():
        for kernel in kernels:
            tiling = default_tiling(kernel, element_size)
            dtype = type_.partition(",")[0]
            resources = measure_resources(kernel, file.source, tiling, device, dtype, precision)
            assert resources.spilled_bytes <= spilled_bytes, (kernel.name, resources)
            assert resources.shared_memory <= device.shared_memory, (kernel.name, resources)
            estimate = (
                device.shared_memory if kernel.layout is None else kernel.layout.shared_memory
            )
            assert resources.shared_memory <= estimate, (kernel.name, resources)


def test_nothing_is_interpreted() -> None:
    assert not os.environ.get("TRITON_INTERPRET")


@pytest.mark.parametrize(("tier", "name", "chip", "type_", "hidden", "spilled"), list(cells()))
def test_a_tier_holds_or_is_refused(
    tier: LoopStrategy, name: str, chip: str, type_: str, hidden: int, spilled: int | None
) -> None:
    device = next(c for c in (A100, H200) if chip == f"sm_{c.compute_capability}")
    plan, context = build_loop_plan(name, hidden), DeviceContext(device, *TYPES[type_])
    if spilled is not None:
        file = generate_kernel_file(plan, KernelVariant(), select_strategies(plan, context, tier))
        assert_fits(file, type_, device, spilled)
    else:
        with pytest.raises(rnnc.RnnError, match=f"RNNC_CUDA_TIER={tier}, but that tier cannot"):
            select_strategies(plan, context, tier)


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("hidden", SIZES)
def test_a_step_of_an_lstm_holds_on_sm_90(hidden: int, type_: str) -> None:
    assert_fits(generate_graph_kernels("lstm", hidden, KernelVariant()), type_, H200)


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("hidden", [64, 1024])
def test_a_step_of_an_lstm_holds_on_sm_80(hidden: int, type_: str) -> None:
    assert_fits(generate_graph_kernels("lstm", hidden, KernelVariant()), type_, A100)


@pytest.mark.parametrize("name", ["gru", "dts_rnn", "mingru", "rhn"])
def test_other_cells_hold_with_resets_and_lengths(name: str) -> None:
    assert_fits(
        generate_graph_kernels(name, 512, KernelVariant(resets=True, lengths=True)),
        "bfloat16",
        H200,
    )


@pytest.mark.parametrize("name", zoo_names())
@pytest.mark.parametrize("tier", ["chip", "grid"])
def test_every_cell_of_the_zoo_compiles_in_every_tier(tier: LoopStrategy, name: str) -> None:
    """At small sizes, with resets and lengths, and with any number of spills."""
    graph = analyze(zoo_source(name), parameters=small_sizes(name, hidden=33)).graph
    assert graph is not None
    plan = PlanCache(graph, sink_elementwise=True)(training_request(graph))
    variant = KernelVariant(resets=True, lengths=True)
    assert_fits(
        generate_kernel_file(plan, variant, select_strategies(plan, DeviceContext(H200), tier)),
        "float32",
        H200,
        10000,
    )


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("which", INDEPENDENT_COLUMNS)
def test_blocks_of_a_wide_layer_hold_on_one_multiprocessor_each(which: str, type_: str) -> None:
    graph = analyze(Source(INDEPENDENT_COLUMNS[which]), parameters={"hidden": 256}).graph
    assert graph is not None
    plan = PlanCache(graph, sink_elementwise=True)(training_request(graph))
    strategies = select_strategies(plan, DeviceContext(H200, *TYPES[type_]))
    assert all(found.strategy == "chip" for found in strategies.values())
    assert all(
        found.layout is not None and found.layout.slices == 4 for found in strategies.values()
    )
    assert_fits(generate_kernel_file(plan, KernelVariant(), strategies), type_, H200)


def test_what_a_loop_takes_is_told_as_compiled() -> None:
    plan = build_loop_plan("rnn", 64)
    phase = next(phase for phase in plan.phases if phase.kind == "loop")
    description = describe_strategy(plan, phase)
    pattern = r"\d+ registers a thread and \d+ KB of shared memory a program, \d+ at a time on a"
    assert re.search(pattern, description), description


def test_programs_of_a_grid_meet_as_the_memory_model_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []

    def record_ptx(text: str) -> tuple[int, int]:
        texts.append(text)
        return 0, 0

    monkeypatch.setattr(kernel_resources, "_assemble", record_ptx)
    plan = build_loop_plan("dts_rnn", 64)
    assert_fits(
        generate_kernel_file(
            plan, KernelVariant(), select_strategies(plan, DeviceContext(H200), "grid")
        ),
        "float32",
        H200,
    )
    for text in texts:
        arrivals, polls = (
            re.findall(rf"^.*{word}.*$", text, re.MULTILINE)
            for word in ("atom", r"ld\.global\.gpu")
        )
        # Two levels, two barriers: each is one atomic addition and a polling loop.
        assert len(arrivals) == len(polls) == 2
        assert all("gpu.acq_rel.add.u64" in line for line in arrivals)
        assert all("acquire" in line for line in polls)
        assert "ld.global.cg" in text


def test_what_does_not_fit_is_seen() -> None:
    with pytest.raises(AssertionError):
        assert_fits(
            generate_graph_kernels("lstm", 256, KernelVariant()),
            "float32",
            DeviceLimits("a small one", 90, 1, 4096),
        )
