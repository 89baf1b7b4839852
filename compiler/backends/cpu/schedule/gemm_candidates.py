"""Products of all steps that torch may take instead of generated code, and where they go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rnnc.compiler.ir.dataflow import Operand

from .frame_layout import FrameLayout
from .kernel_partition import CpuKernel, CpuKernelGroup, MatmulTerm
from .weight_grad_groups import WeightGradGroup


@dataclass(frozen=True, slots=True)
class GemmDestination:
    """A sum of products, and the value whose rows it is put into until its stage reads it there.

    bias: the value that is added to each row, or −1; where nothing is left for the stage to do.
    """

    value: int
    matmuls: tuple[MatmulTerm, ...]
    bias: int = -1


@dataclass(frozen=True, slots=True)
class LibraryCandidate:
    """A stage that may find its products done.

    kernel_index: its place in its unit.
    covers_kernel: whether the products, with their biases, are all of it.
    row_work: multiplications a row.
    name: what it computes, in short; equal for stages that take equally long.
    """

    kernel_index: int
    destinations: tuple[GemmDestination, ...]
    covers_kernel: bool
    row_work: int
    name: str


@dataclass(frozen=True, slots=True)
class KernelRange:
    """Stages of a unit, from one on and before another; of the first one products may be done."""

    group: CpuKernelGroup
    first: int
    last: int
    gemm_done: bool = False


@dataclass(frozen=True, slots=True)
class LibraryWeightGrads:
    """Sums that torch takes."""

    group: WeightGradGroup


LibraryWork = tuple[GemmDestination | LibraryWeightGrads | KernelRange, ...]
"""What torch does, and what is left for generated code."""


@dataclass(frozen=True, slots=True)
class GemmAlternative:
    """Work that generated code does, or torch: a stage of a unit, or some sums.

    key: its size, by which the faster way is remembered.
    """

    key: str
    generated: KernelRange | WeightGradGroup
    library: LibraryWork


def find_library_candidates(
    layout: FrameLayout, group: CpuKernelGroup
) -> tuple[LibraryCandidate, ...]:
    """The stages of a unit whose products torch may take."""
    if group.direction:
        return ()
    return tuple(_find_candidates(layout, group))


def _find_candidates(layout: FrameLayout, unit: CpuKernelGroup) -> Iterator[LibraryCandidate]:
    values = layout.flow.values
    for index, stage in enumerate(unit.kernels):
        terms = [term for found in stage.matmul_sums for term in found.terms]
        plain = all(
            len(values[t.weight].shape) == 2
            and values[t.vector.value].rate == "step"
            and not t.vector.delay
            for t in terms
        )
        places = _destination_values(layout, stage)
        if not terms or not plain or len(places) < len(stage.matmul_sums):
            continue
        complete = set(stage.values) == set(places) == {found.value for found in stage.matmul_sums}
        complete &= all(
            _is_bias(layout, stage, found.epilogue_inputs) for found in stage.matmul_sums
        )
        landings = tuple(
            GemmDestination(
                place,
                found.terms,
                found.epilogue_inputs[0].value if complete and found.epilogue_inputs else -1,
            )
            for place, found in zip(places, stage.matmul_sums, strict=True)
        )
        depths = [(values[t.vector.value].shape[0], t.transposed) for t in terms]
        shapes = " ".join(f"{depth}{'t' if flipped else ''}" for depth, flipped in depths)
        name = f"{len(stage.matmul_sums)} x {stage.width} of {shapes}, {len(stage.values)} values"
        work = stage.width * sum(depth for depth, _ in depths)
        yield LibraryCandidate(index, landings, complete, work, name)


def _is_bias(layout: FrameLayout, stage: CpuKernel, rest: tuple[Operand, ...]) -> bool:
    """Whether a sum has but its products, and at most one vector that is the same for all rows."""
    if not rest:
        return True
    value = layout.flow.values[rest[0].value]
    return len(rest) == 1 and value.rate == "call" and value.shape == (stage.width,)


def _destination_values(layout: FrameLayout, stage: CpuKernel) -> list[int]:
    """For each sum of a stage the value that it is put into: itself if it is stored at all."""
    stored = [n for n in stage.values if n in layout.stored_values]
    sums = [found.value for found in stage.matmul_sums]
    others = iter([n for n in stored if n not in sums])
    found = [number if number in stored else next(others, -1) for number in sums]
    return [number for number in found if number >= 0]
