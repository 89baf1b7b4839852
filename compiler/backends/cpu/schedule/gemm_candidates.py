"""GEMM candidates: kernels and weight gradients that torch's GEMM may compute instead.

Only batched kernels qualify, whose matmuls read undelayed rows and matrices. The result goes to a
buffer that the kernel stores anyway; its epilogue, if it has one, reads the sums there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rnnc.compiler.ir.dataflow import Operand

from .frame_layout import FrameLayout
from .kernel_partition import CpuKernel, CpuKernelGroup, MatmulTerm
from .weight_grad_groups import WeightGradGroup


@dataclass(frozen=True, slots=True)
class GemmDestination:
    """A matmul sum of the library, and the value whose buffer holds it until its kernel reads it.

    bias: the value that is added to each row, or −1; only where no epilogue is left to do it.
    """

    value: int
    matmuls: tuple[MatmulTerm, ...]
    bias: int = -1


@dataclass(frozen=True, slots=True)
class LibraryCandidate:
    """A kernel that may find its matmul sums computed.

    kernel_index: its place in its group.
    covers_kernel: true if the kernel has no epilogue but biases.
    row_work: multiplications of a row.
    name: the sizes; kernels of equal names take equally long.
    """

    kernel_index: int
    destinations: tuple[GemmDestination, ...]
    covers_kernel: bool
    row_work: int
    name: str


@dataclass(frozen=True, slots=True)
class KernelRange:
    """Kernels `first` to `last` (exclusive) of a group.

    gemm_done: true if the library has computed the matmul sums of the first one.
    """

    group: CpuKernelGroup
    first: int
    last: int
    gemm_done: bool = False


@dataclass(frozen=True, slots=True)
class LibraryWeightGrads:
    """Weight gradients that the library computes."""

    group: WeightGradGroup


LibraryWork = tuple[GemmDestination | LibraryWeightGrads | KernelRange, ...]
"""Work of the library, then the kernels that are left for generated code."""


@dataclass(frozen=True, slots=True)
class GemmAlternative:
    """Two implementations of the same work, between which the autotuner chooses.

    key: the sizes that the choice is remembered by.
    """

    key: str
    generated: KernelRange | WeightGradGroup
    library: LibraryWork


def find_library_candidates(
    layout: FrameLayout, group: CpuKernelGroup
) -> tuple[LibraryCandidate, ...]:
    """Return the kernels of a group whose matmul sums the library may compute."""
    if group.direction:
        return ()
    return tuple(_find_candidates(layout, group))


def _find_candidates(layout: FrameLayout, group: CpuKernelGroup) -> Iterator[LibraryCandidate]:
    values = layout.flow.values
    for index, kernel in enumerate(group.kernels):
        sums = kernel.matmul_sums
        terms = [term for sum_ in sums for term in sum_.terms]
        is_plain_gemm = all(
            len(values[term.weight].shape) == 2
            and values[term.vector.value].rate == "step"
            and not term.vector.delay
            for term in terms
        )
        targets = _destination_values(layout, kernel)
        if not terms or not is_plain_gemm or len(targets) < len(sums):
            continue
        covers_kernel = set(kernel.values) == set(targets) == {sum_.value for sum_ in sums}
        covers_kernel &= all(_is_bias(layout, kernel, sum_.epilogue_inputs) for sum_ in sums)
        destinations = tuple(
            GemmDestination(
                target,
                sum_.terms,
                sum_.epilogue_inputs[0].value if covers_kernel and sum_.epilogue_inputs else -1,
            )
            for target, sum_ in zip(targets, sums, strict=True)
        )
        depths = [(values[term.vector.value].shape[0], term.transposed) for term in terms]
        shapes = " ".join(f"{depth}{'t' if transposed else ''}" for depth, transposed in depths)
        name = f"{len(sums)} x {kernel.width} of {shapes}, {len(kernel.values)} values"
        row_work = kernel.width * sum(depth for depth, _ in depths)
        yield LibraryCandidate(index, destinations, covers_kernel, row_work, name)


def _is_bias(layout: FrameLayout, kernel: CpuKernel, inputs: tuple[Operand, ...]) -> bool:
    """Return true for no epilogue input, or one vector that is the same for all rows."""
    if not inputs:
        return True
    value = layout.flow.values[inputs[0].value]
    return len(inputs) == 1 and value.rate == "call" and value.shape == (kernel.width,)


def _destination_values(layout: FrameLayout, kernel: CpuKernel) -> list[int]:
    """Return a stored value for each sum: itself, or another one; fewer if there are not enough."""
    stored = [value_id for value_id in kernel.values if value_id in layout.stored_values]
    sums = [sum_.value for sum_ in kernel.matmul_sums]
    others = iter([value_id for value_id in stored if value_id not in sums])
    targets = [value_id if value_id in stored else next(others, -1) for value_id in sums]
    return [value_id for value_id in targets if value_id >= 0]
