"""Bind kernels to the tensors of a call: variant, device, arguments, grid and tile sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnnc.compiler.backends.aten.buffers import AtenMemory
from rnnc.compiler.backends.cuda.autotune.kernel_resources import compile_options
from rnnc.compiler.backends.cuda.autotune.tile_sizes import default_tiling
from rnnc.compiler.backends.cuda.autotune.tuning_lookup import tuned_tiling
from rnnc.compiler.backends.cuda.codegen.kernel_arguments import KernelVariant
from rnnc.compiler.backends.cuda.codegen.kernel_file import KernelFile
from rnnc.compiler.backends.cuda.codegen.triton_build import load_functions
from rnnc.compiler.backends.cuda.codegen.triton_kernel import TritonKernel
from rnnc.compiler.backends.cuda.schedule.device_limits import H200, query_device_limits
from rnnc.compiler.backends.cuda.schedule.matmul_precision import matmul_precision
from rnnc.compiler.backends.cuda.schedule.persistent_layout import DeviceContext

from .buffers import CudaMemory


@dataclass(frozen=True)
class BoundKernel:
    """A kernel bound to the tensors and the grid of one call, launchable any number of times."""

    function: Any
    tensors: tuple[Tensor, ...]
    grid: tuple[int, int]
    options: dict[str, Any]

    @property
    def capture_key(self) -> tuple[Any, ...]:
        """Return everything that a CUDA graph of this launch depends on."""
        addresses = tuple(tensor.data_ptr() for tensor in self.tensors)
        return (id(self.function), self.grid, tuple(self.options.items()), addresses)

    def __call__(self, *leading: Any, **trailing: Any) -> None:
        """Launch the kernel; `leading` come before its tensors, `trailing` after them."""
        self.function[self.grid](*leading, *self.tensors, **self.options, **trailing)


def bind_kernel(file: KernelFile, kernel: TritonKernel, memory: CudaMemory) -> BoundKernel:
    """Bind a kernel of a file to the tensors of a call, with its grid and tile sizes."""
    element_size, batch_size = memory.like.element_size(), memory.call.batch_size
    tiling = tuned_tiling(kernel, element_size, memory.like.device.index)
    tiling = tiling or default_tiling(kernel, element_size)
    row_count = batch_size * memory.call.steps if kernel.kind == "rows" else batch_size
    grid = tiling.grid(row_count, kernel.width)
    if kernel.kind == "scan":
        grid = (batch_size, grid[1])
    elif kernel.layout is not None and kernel.kind == "grid":
        groups = kernel.layout.row_groups(batch_size, device_context(memory).device)
        grid = (kernel.layout.slices, groups)
    elif kernel.layout is not None:
        grid = (grid[0], kernel.layout.slices)
    options = {"PRECISION": matmul_precision(memory.like.dtype), "BM": tiling.rows}
    if kernel.layout is None:
        options |= {"BN": tiling.columns, "BK": tiling.depth}
    options |= compile_options(kernel, tiling)
    tensors = tuple(argument.bind(memory) for argument in kernel.arguments)
    return BoundKernel(load_functions(file.source)[kernel.name], tensors, grid, options)


def device_context(memory: AtenMemory) -> DeviceContext:
    """Return the context that selects the strategies of a call; an H200's in the interpreter."""
    like = memory.like
    device = query_device_limits(like.device.index or 0) if like.device.type == "cuda" else H200
    is_capturing = like.device.type == "cuda" and torch.cuda.is_current_stream_capturing()
    element_size = min(4, like.element_size())
    return DeviceContext(
        device, element_size, matmul_precision(like.dtype), memory.call.batch_size, is_capturing
    )


def kernel_variant(memory: AtenMemory) -> KernelVariant:
    """Return the variant of the kernels that a call needs."""
    call, dtype = memory.call, memory.like.dtype
    return KernelVariant(
        resets=call.resets is not None,
        lengths=call.lengths is not None,
        compute_dtype="float64" if dtype == torch.float64 else "float32",
        tiny=torch.finfo(dtype).tiny,
    )
