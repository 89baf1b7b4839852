"""Default tile sizes of a kernel, from its width, its matmuls and the element size."""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.compiler.backends.cuda.codegen.triton_kernel import TritonKernel


@dataclass(frozen=True, slots=True)
class Tiling:
    """Rows, columns and depth (K) of a tile, and the warps of a program."""

    rows: int
    columns: int
    depth: int
    warps: int

    def grid(self, rows: int, width: int) -> tuple[int, int]:
        """Return the number of tiles along rows and columns."""
        return -(-rows // self.rows), -(-width // self.columns)


def default_tiling(kernel: TritonKernel, element_size: int) -> Tiling:
    """Return the tile sizes of a kernel for an element size in bytes.

    They do not depend on T and B, so no call recompiles a kernel. Tiles of matmuls are narrow
    because a step has few rows: only columns give enough programs to fill the GPU.
    """
    if kernel.layout is not None:
        return Tiling(kernel.layout.row_tile, 1, 1, kernel.layout.num_warps)
    if kernel.matmuls:
        # 16 columns per accumulator are the smallest N of the matrix instructions; with more than
        # four accumulators fewer rows, because all accumulators are in registers at once.
        rows = 16 if kernel.matmuls > 4 else 32
        return Tiling(rows, 16, 64 if element_size <= 2 else 32, 4)
    if kernel.kind == "scan":
        return Tiling(64, 1 if kernel.width == 1 else 32, 1, 4)
    if kernel.width == 1:
        return Tiling(128, 1, 1, 4)
    columns = min(128, 1 << (kernel.width - 1).bit_length())
    return Tiling(max(1, 1024 // columns), columns, 1, 4)
