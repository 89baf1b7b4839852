"""How a stage is cut into tiles: from its width, its products and the size of a number."""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.compiler.backends.cuda.codegen.stage_kernels import TritonKernel


@dataclass(frozen=True, slots=True)
class Tiling:
    """Rows, columns and depth of a tile, and the warps that compute it."""

    rows: int
    columns: int
    depth: int
    warps: int

    def grid(self, rows: int, width: int) -> tuple[int, int]:
        """How many tiles there are."""
        return -(-rows // self.rows), -(-width // self.columns)


def default_tiling(kernel: TritonKernel, element_size: int) -> Tiling:
    """The tiles of a kernel whose numbers have so many bytes.

    They depend on neither T nor B, so that no call compiles a kernel anew. Narrow columns give a
    step's products more programs: a batch alone fills few multiprocessors.
    """
    if kernel.layout is not None:
        return Tiling(kernel.layout.row_tile, 1, 1, kernel.layout.num_warps)
    if kernel.matmuls:
        # Sixteen columns of each sum are the least that matrix instructions take.
        rows = 16 if kernel.matmuls > 4 else 32
        return Tiling(rows, 16, 64 if element_size <= 2 else 32, 4)
    if kernel.kind == "scan":
        return Tiling(64, 1 if kernel.width == 1 else 32, 1, 4)
    if kernel.width == 1:
        return Tiling(128, 1, 1, 4)
    columns = min(128, 1 << (kernel.width - 1).bit_length())
    return Tiling(max(1, 1024 // columns), columns, 1, 4)
