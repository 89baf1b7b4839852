"""Outer sums of any size, against torch's own products."""

from __future__ import annotations

import ctypes
import re
from importlib.resources import files

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnc
from rnnc.compiler.backends.cpu.specialize import weight_grad_blocking
from rnnc.compiler.backends.cpu.specialize.compiled_program import (
    DISABLED_PASSES,
    CompiledProgram,
    compile_program,
)
from rnnc.compiler.backends.cpu.specialize.weight_grad_blocking import packing_size
from rnnc.compiler.backends.cpu.toolchain.c_compiler import host_isa
from rnnc.compiler.request import PlanRequest

ISAS = ["plain", "avx2", "avx512"]
ISAS = ISAS[: ISAS.index(host_isa()) + 1]
SPEC = "model m:\n    input x: real[3]\n    output y: real[3]\n    y = W x\n"


@pytest.fixture(scope="module", params=[(isa, d) for isa in ISAS for d in (False, True)])
def program(request: pytest.FixtureRequest) -> CompiledProgram:
    isa, double = request.param
    graph = rnnc.compile(SPEC, backend="reference").graph
    program = compile_program(graph, PlanRequest(without=DISABLED_PASSES), double=double, isa=isa)
    program.load()
    return program


def compute_weight_grad(
    program: CompiledProgram,
    a: torch.Tensor,
    b: torch.Tensor,
    rows: torch.Tensor | None,
    depth: int,
    threads: int,
) -> torch.Tensor:
    m, n = a.shape[1], b.shape[1]
    result = torch.full((m, n), float("nan"), dtype=program.dtype)
    size = packing_size([n], program.emitter.tile_vectors * program.layout.lanes, depth)
    work = torch.empty(threads * size, dtype=program.dtype)
    index = None if rows is None else rows.data_ptr()
    pointer, number = ctypes.c_void_p, ctypes.c_long
    program.libraries[0].weight_grad_gemm(
        *(pointer(result.data_ptr()), number(m), number(n), number(depth)),
        *(pointer(a.data_ptr()), number(a.stride(0)), pointer(None)),
        *(pointer(b.data_ptr()), number(b.stride(0)), pointer(index)),
        *(pointer(work.data_ptr()), number(size), number(threads)),
    )
    return result


@settings(max_examples=60)
@given(
    m=st.integers(1, 80),
    n=st.integers(1, 150),
    depth=st.integers(1, 600),
    threads=st.integers(1, 3),
    shuffled=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_weight_gradients(
    program: CompiledProgram, m: int, n: int, depth: int, threads: int, shuffled: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = (
        torch.randn(depth + 1, width + 3, generator=generator, dtype=program.dtype)[:, :width]
        for width in (m, n)
    )
    index = torch.randint(0, depth + 1, (depth,), generator=generator, dtype=torch.int32)
    rows = index if shuffled else None
    result = compute_weight_grad(program, a, b, rows, depth, threads)
    expected = a[:depth].double().t() @ (b[index.long()] if shuffled else b[:depth]).double()
    tolerance = 1e-12 if program.double else 1e-5
    assert result.shape == (m, n)
    assert (result - expected).abs().max() <= tolerance * depth


@pytest.mark.parametrize("name", ["DEPTH_BLOCK", "COLUMN_BLOCKS", "DEPTH_PASSES", "ROW_TILES"])
def test_packing_size_uses_the_block_sizes_of_the_c_code(name: str) -> None:
    text = (files("rnnc.compiler.backends.cpu") / "csrc" / "weight_grad_gemm.h").read_text("utf-8")
    (number,) = re.findall(rf"^#define {name} (\d+)", text, re.MULTILINE)
    assert int(number) == getattr(weight_grad_blocking, name)
