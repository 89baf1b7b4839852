"""Measure registers and shared memory of a kernel by ahead-of-time compilation.

The device need not be present: Triton cross-compiles, and its `ptxas` reports the registers.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnc.compiler.backends.cuda.codegen.triton_build import load_functions
from rnnc.compiler.backends.cuda.codegen.triton_kernel import INT64_POINTERS, TritonKernel
from rnnc.compiler.backends.cuda.schedule.device_limits import DeviceLimits
from rnnc.compiler.backends.cuda.schedule.matmul_precision import MatmulPrecision

from .tile_sizes import Tiling

TRITON_POINTER_TYPES = {"float32": "*fp32", "float16": "*fp16", "bfloat16": "*bf16"}


@dataclass(frozen=True, slots=True)
class KernelResources:
    """Registers and spilled bytes per thread, bytes of shared memory per program."""

    registers: int
    spilled_bytes: int
    shared_memory: int


def measure_resources(
    kernel: TritonKernel,
    source: str,
    tiling: Tiling,
    device: DeviceLimits,
    dtype: str,
    precision: MatmulPrecision,
) -> KernelResources:
    """Compile a kernel of a file for a device, and return the resources that it needs.

    dtype: the model's: `float32`, `float16` or `bfloat16`.

    Raises:
        RuntimeError: when Triton or the assembler cannot compile it.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    function = load_functions(source)[kernel.name]
    known_constants: dict[str, Any] = {
        "BM": tiling.rows,
        "BN": tiling.columns,
        "BK": tiling.depth,
        "PRECISION": precision,
        "LEVEL": -1,
    }
    constants = {n: known_constants[n] for n in function.arg_names if n in known_constants}
    signature = {
        name: "constexpr" if name in constants else _parameter_type(name, kernel, dtype)
        for name in function.arg_names
    }
    alignment = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(function.arg_names)
        if signature[name].startswith("*")
    }
    compiled = triton.compile(
        ASTSource(fn=function, signature=signature, constexprs=constants, attrs=alignment),
        target=GPUTarget("cuda", device.compute_capability, 32),
        options=compile_options(kernel, tiling),
    )
    registers, spilled_bytes = _assemble(compiled.asm["ptx"])
    return KernelResources(registers, spilled_bytes, int(compiled.metadata.shared))


def compile_options(kernel: TritonKernel, tiling: Tiling) -> dict[str, Any]:
    """Return the options of Triton's compiler and launcher for a kernel."""
    options: dict[str, Any] = {"num_warps": tiling.warps}
    if kernel.layout is not None:
        # Each step reads the result of the step before, so software pipelining gains nothing.
        options["num_stages"] = 1
    if kernel.kind == "grid":
        options["launch_cooperative_grid"] = True
    return options


def _parameter_type(name: str, kernel: TritonKernel, dtype: str) -> str:
    """Return the type of a parameter in Triton's signature syntax."""
    if name in INT64_POINTERS:
        return "*i64"
    argument = next((a for a in kernel.arguments if a.name == name), None)
    if argument is None:
        return "i32"
    if argument.kind in {"same_segment", "same_segment_no_carry", "valid"}:
        return "*u8"
    return "*fp32" if argument.full_precision else TRITON_POINTER_TYPES[dtype]


def _assemble(ptx: str) -> tuple[int, int]:
    """Return (registers, spilled bytes) per thread, as Triton's `ptxas` reports them."""
    import triton

    target = re.search(r"\.target (\w+)", ptx)
    assert target is not None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.ptx")
        path.write_text(ptx)
        process = subprocess.run(  # noqa: S603 - Triton's own assembler
            [
                triton.knobs.nvidia.ptxas.path,
                "-v",
                f"--gpu-name={target[1]}",
                str(path),
                "-o",
                str(path.with_suffix(".cubin")),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    registers = re.search(r"Used (\d+) registers", process.stderr)
    if process.returncode or registers is None:
        raise RuntimeError(f"the assembler says: {process.stderr.strip()}")
    spills = re.search(r"(\d+) bytes spill stores", process.stderr)
    return int(registers[1]), int(spills[1]) if spills else 0
