"""Kernels compiled ahead of time: which keep within a chip's limits, at which sizes.

TABLE is what compiler and choice of tiers are held to: `yes` where all kernels of all loops of a
training step must hold, with no spills and within shared memory, `no` where the tier must be
refused. There is no GPU in this: registers and spills are those that the assembler reports.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import rnnc
from rnnc.compiler.backends.cuda.arguments import Case
from rnnc.compiler.backends.cuda.chip import A100, H200, Chip
from rnnc.compiler.backends.cuda.precision import Precision
from rnnc.compiler.backends.cuda.program import Program, choices_of, program_of
from rnnc.compiler.backends.cuda.resources import resources_of
from rnnc.compiler.backends.cuda.shapes import Setting
from rnnc.compiler.backends.cuda.tiers import Tier
from rnnc.compiler.backends.cuda.tiling import tiling_of
from rnnc.compiler.plan import Plan
from rnnc.compiler.planner import Planner
from rnnc.compiler.request import training_request
from rnnc.operators.analyse import analyse
from rnnc.operators.shipped import zoo_source

pytestmark = pytest.mark.triton

TYPES: dict[str, tuple[int, Precision]] = {
    "bfloat16": (2, "ieee"),
    "float16": (2, "ieee"),
    "float32": (4, "tf32"),
    "float32,exact": (4, "tf32x3"),
}
SIZES = (64, 128, 256, 512, 1024)

# tier, model, chip, type, and then one column a size
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
"""


def cells() -> Iterator[object]:
    for line in TABLE.strip().splitlines():
        tier, name, chip, type_, *said = line.split()
        for hidden, fits in zip(SIZES, said, strict=True):
            id_ = f"{tier}-{name}-{chip}-{hidden}-{type_}"
            yield pytest.param(tier, name, chip, type_, hidden, fits == "yes", id=id_)


def plan_of(name: str, hidden: int) -> Plan:
    graph = analyse(zoo_source(name), parameters={"hidden": hidden}, assume=False).graph
    assert graph is not None
    return Planner(graph, sink=True)(training_request(graph))


def program(name: str, hidden: int, case: Case) -> Program:
    """The kernels of the tier that runs every loop."""
    plan = plan_of(name, hidden)
    return program_of(plan, case, choices_of(plan, Setting(H200), "graph"))


def check(found: Program, type_: str, chip: Chip) -> None:
    """No kernel of a loop or scan spills, or needs more shared memory than there is."""
    bytes_, precision = TYPES[type_]
    for kernels in found.loops.values():
        for kernel in kernels:
            tiling = tiling_of(kernel, bytes_)
            dtype = type_.partition(",")[0]
            taken = resources_of(kernel, found.source, tiling, chip, dtype, precision)
            assert taken.spilled == 0, (kernel.name, taken)
            assert taken.shared <= chip.shared, (kernel.name, taken)
            estimate = chip.shared if kernel.shape is None else kernel.shape.shared
            assert taken.shared <= estimate, (kernel.name, taken)


def test_nothing_is_interpreted() -> None:
    assert not os.environ.get("TRITON_INTERPRET")


@pytest.mark.parametrize(("tier", "name", "chip", "type_", "hidden", "fits"), list(cells()))
def test_a_tier_holds_or_is_refused(
    tier: Tier, name: str, chip: str, type_: str, hidden: int, fits: bool
) -> None:
    device = next(c for c in (A100, H200) if chip == f"sm_{c.capability}")
    plan, setting = plan_of(name, hidden), Setting(device, *TYPES[type_])
    if fits:
        check(program_of(plan, Case(), choices_of(plan, setting, tier)), type_, device)
    else:
        with pytest.raises(rnnc.RnnError, match=f"RNNC_CUDA_TIER={tier}, but that tier cannot"):
            choices_of(plan, setting, tier)


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("hidden", SIZES)
def test_a_step_of_an_lstm_holds_on_sm_90(hidden: int, type_: str) -> None:
    check(program("lstm", hidden, Case()), type_, H200)


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("hidden", [64, 1024])
def test_a_step_of_an_lstm_holds_on_sm_80(hidden: int, type_: str) -> None:
    check(program("lstm", hidden, Case()), type_, A100)


@pytest.mark.parametrize("name", ["gru", "dts_rnn", "mingru", "rhn"])
def test_other_cells_hold_with_resets_and_lengths(name: str) -> None:
    check(program(name, 512, Case(resets=True, lengths=True)), "bfloat16", H200)


def test_what_does_not_fit_is_seen() -> None:
    with pytest.raises(AssertionError):
        check(program("lstm", 256, Case()), "float32", Chip("a small one", 90, 1, 4096))
