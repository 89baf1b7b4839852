"""What a kernel takes of a GPU: compiled for a chip, whether or not there is one here."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnc.compiler.backends.cuda.codegen.stage_kernels import POINTERS as NUMBERS
from rnnc.compiler.backends.cuda.codegen.stage_kernels import Kernel
from rnnc.compiler.backends.cuda.codegen.triton_build import functions_of
from rnnc.compiler.backends.cuda.schedule.device_limits import Chip
from rnnc.compiler.backends.cuda.schedule.matmul_precision import Precision

from .tile_sizes import Tiling

POINTERS = {"float32": "*fp32", "float16": "*fp16", "bfloat16": "*bf16"}


@dataclass(frozen=True, slots=True)
class Resources:
    """Registers of a thread, bytes it spills, bytes of shared memory of a program."""

    registers: int
    spilled: int
    shared: int


def resources_of(
    kernel: Kernel, source: str, tiling: Tiling, chip: Chip, dtype: str, precision: Precision
) -> Resources:
    """Compile a kernel of a file for a chip.

    dtype: the model's: `float32`, `float16` or `bfloat16`.

    Raises:
        RuntimeError: when Triton or the assembler cannot compile it.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    function = functions_of(source)[kernel.name]
    sizes: dict[str, Any] = {
        "BM": tiling.rows,
        "BN": tiling.columns,
        "BK": tiling.depth,
        "PRECISION": precision,
    }
    sizes |= {"LEVEL": -1}
    constants: dict[str, Any] = {n: sizes[n] for n in function.arg_names if n in sizes}
    signature = {
        name: "constexpr" if name in constants else _type(name, kernel, dtype)
        for name in function.arg_names
    }
    aligned = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(function.arg_names)
        if signature[name].startswith("*")
    }
    compiled = triton.compile(
        ASTSource(fn=function, signature=signature, constexprs=constants, attrs=aligned),
        target=GPUTarget("cuda", chip.capability, 32),
        options=options_of(kernel, tiling),
    )
    registers, spilled = _assembled(compiled.asm["ptx"])
    return Resources(registers, spilled, int(compiled.metadata.shared))


def options_of(kernel: Kernel, tiling: Tiling) -> dict[str, Any]:
    """How a kernel is compiled and launched."""
    options: dict[str, Any] = {"num_warps": tiling.warps}
    if kernel.shape is not None:
        # What a step reads the one before it has written: nothing can be loaded ahead.
        options["num_stages"] = 1
    if kernel.drive == "grid":
        options["launch_cooperative_grid"] = True
    return options


def _type(name: str, kernel: Kernel, dtype: str) -> str:
    """The type of a parameter, as Triton writes it."""
    if name in NUMBERS:
        return "*i64"
    argument = next((a for a in kernel.arguments if a.name == name), None)
    if argument is None:
        return "i32"
    if argument.kind in {"linked", "within", "alive"}:
        return "*u8"
    return "*fp32" if argument.wide else POINTERS[dtype]


def _assembled(text: str) -> tuple[int, int]:
    """(registers, spilled bytes) of a thread, by the assembler that Triton brings along."""
    import triton

    target = re.search(r"\.target (\w+)", text)
    assert target is not None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.ptx")
        path.write_text(text)
        said = subprocess.run(  # noqa: S603 - Triton's own assembler
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
    used = re.search(r"Used (\d+) registers", said.stderr)
    if said.returncode or used is None:
        raise RuntimeError(f"the assembler says: {said.stderr.strip()}")
    spilled = re.search(r"(\d+) bytes spill stores", said.stderr)
    return int(used[1]), int(spilled[1]) if spilled else 0
