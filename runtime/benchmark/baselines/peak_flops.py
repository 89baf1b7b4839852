"""The second floor: a workload's matmul FLOPs at the speed of the generated micro-kernel."""

from __future__ import annotations

import ctypes
from typing import Final

import torch

from rnnc.compiler.backends.cpu.codegen.emitter import prelude
from rnnc.compiler.backends.cpu.toolchain.build_library import build_library
from rnnc.compiler.backends.cpu.toolchain.c_compiler import host_isa
from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.runtime.benchmark.workload.candidate import Candidate, Unavailable
from rnnc.runtime.benchmark.workload.workload import Workload

from .gemm_floor import required_gemms, total_flops

DEPTH: Final = 256
"""Length of a dot product, so that rows and panel stay in the nearest caches."""

SOURCE: Final = """
void rnnc_peak(long times, long threads, long room, const real *rooms) {
#ifdef _OPENMP
#pragma omp parallel num_threads(threads)
#endif
    {
        const real *a = rooms + THREAD * room, *panel = a + TILE_ROWS * %(depth)d;
        real *sums = (real *)panel + TILE_VECTORS * LANES * %(depth)d;
        const real *rows[TILE_ROWS];
        for (int i = 0; i < TILE_ROWS; i++) rows[i] = a + i * %(depth)d;
        for (long n = 0; n < times; n++)
            gemm_microkernel(
                TILE_ROWS, TILE_VECTORS, %(depth)d, rows, panel, sums, TILE_VECTORS * LANES, 0);
    }
}
long rnnc_tile(void) { return (long)TILE_ROWS * TILE_VECTORS * LANES; }
long rnnc_room(void) {
    return (long)(TILE_ROWS + TILE_VECTORS * LANES) * %(depth)d + TILE_ROWS * TILE_VECTORS * LANES;
}
"""


def peak_flops(workload: Workload) -> Candidate:
    """Make the candidate that runs as many FLOPs as the workload's matmuls, on cached tiles.

    Raises:
        Unavailable: without a C compiler, or without a plan.
    """
    forward = total_flops(required_gemms(workload, training=False))
    step = total_flops(required_gemms(workload, training=True))
    kernel = MicroKernel()
    description = (
        f"{step / 1e9:.2f} GFLOP (forward {forward / 1e9:.2f}) by the micro-kernel, from caches"
    )
    threads = torch.get_num_threads()
    return Candidate(
        "peak",
        description,
        lambda: kernel.run(forward, threads),
        lambda: kernel.run(step, threads),
        None,
    )


class MicroKernel:
    """The generated matmul micro-kernel in float32, with the machine's widest vectors."""

    def __init__(self) -> None:
        """Compile it.

        Raises:
            Unavailable: without a C compiler that works.
        """
        level = host_isa()
        try:
            text = prelude(level, double=False) + SOURCE % {"depth": DEPTH}
            library = build_library(
                text, level, required_functions=["rnnc_peak", "rnnc_tile", "rnnc_room"]
            )
        except RnnError as error:
            raise Unavailable(error.diagnostics[0].message) from None
        self._run = library.rnnc_peak
        self.flops_per_tile: Final = 2 * int(library.rnnc_tile()) * DEPTH
        # Each thread's buffer is a multiple of a page, so that no cache line is shared.
        self._buffer_size: Final = -(-int(library.rnnc_room()) // 1024) * 1024
        self._buffers = torch.rand(0)

    def run(self, count: int, threads: int) -> None:
        """Run about `count` FLOPs, divided evenly among threads.

        The threads are OpenMP's, as in generated code: other threads would have to wait until
        OpenMP's, which spin for a while after each region, have left their cores.
        """
        tiles = max(1, round(count / self.flops_per_tile / threads))
        if len(self._buffers) < threads * self._buffer_size:
            self._buffers = torch.rand(threads * self._buffer_size) * 1e-3
        self._run(
            *map(ctypes.c_long, (tiles, threads, self._buffer_size)),
            ctypes.c_void_p(self._buffers.data_ptr()),
        )

    def gigaflops(self, threads: int, *, seconds: float = 0.05) -> float:
        """Return the best of several short runs, in 1e9 FLOPs a second of all threads."""
        import time

        count, best = self.flops_per_tile * threads, 0.0
        end = time.perf_counter() + 10 * seconds
        while time.perf_counter() < end:
            begin = time.perf_counter()
            self.run(count, threads)
            elapsed = time.perf_counter() - begin
            best = max(best, count / elapsed)
            if elapsed < seconds / 2:
                count *= 2
        return best / 1e9
