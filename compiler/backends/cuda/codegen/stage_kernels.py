"""Generate one kernel per stage: for a step of a loop, and for all rows of a batched phase."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from rnnc.compiler.backends.cuda.schedule.kernel_partition import KernelStage, partition_stages
from rnnc.compiler.backends.cuda.schedule.persistent_layout import PersistentLayout
from rnnc.compiler.schedule.plan import FusionGroup, Phase, Plan

from .expressions import collect_functions
from .grid_barrier import BARRIER_SOURCE
from .kernel_arguments import KernelArgument, KernelVariant
from .scan_kernel import emit_scan
from .tile_body import TileEmitter, file_header

KernelKind = Literal["step", "rows", "scan", "chip", "grid"]
_LEADING_PARAMETERS: Final[dict[KernelKind, tuple[str, ...]]] = {
    "step": ("clock", "ahead", "B"),
    "rows": ("steps", "B"),
    "scan": ("steps", "B"),
    "chip": ("steps", "B"),
    "grid": ("steps", "B", "first", "last", "patience", "counters"),
}
"""The first parameters: integers, the step counter of a loop, the counters of a barrier."""

_CONSTEXPR_PARAMETERS: Final[dict[KernelKind, tuple[str, ...]]] = {
    "chip": ("PRECISION", "BM"),
    "grid": ("PRECISION", "BM", "LEVEL"),
}
"""The compile-time constants of persistent kernels; all other kinds take `_TILE_CONSTANTS`."""

INT64_POINTERS: Final = ("clock", "counters")
"""The leading parameters that are int64 tensors."""

_BATCH_ROWS: Final = (
    "b = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)",
    "rows = (b < B) & there",
    "row = t * B + b",
)
_FORWARD_STEP: Final = (
    "# clock: how many steps are done, and how many there are",
    "t = tl.load(clock) + ahead",
    "there = t < tl.load(clock + 1)",
    *_BATCH_ROWS,
)
_BACKWARD_STEP: Final = (
    "# clock: how many steps are done, and how many there are",
    "t = tl.load(clock + 1) - 1 - tl.load(clock) - ahead",
    "there = t >= 0",
    *_BATCH_ROWS,
)
_ALL_ROWS: Final = (
    "row = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)",
    "rows = row < tl.cast(steps, tl.int64) * B",
    "b = row % B",
)


@dataclass(frozen=True, slots=True)
class TritonKernel:
    """One generated Triton function.

    kind: the work of one launch: a `step` of the whole batch; all `rows` (T·B) at once; a `scan`
        over all steps; or a persistent loop over all steps (`chip`, `grid`).
    width: columns of its stage, which a launch divides into tiles; 0 for a persistent loop.
    matmuls: accumulators that a tile keeps in registers; 0 for a persistent loop.
    layout: of a persistent loop, for which the source is specialized.
    levels: dependency levels of the stages of a `grid` loop.
    """

    name: str
    source: str
    kind: KernelKind
    arguments: tuple[KernelArgument, ...]
    width: int
    matmuls: int
    layout: PersistentLayout | None = None


def format_kernel_file(kernels: Iterable[TritonKernel], variant: KernelVariant) -> str:
    """Return the text of a kernel file: header, device functions, kernels."""
    kernels = tuple(kernels)
    sources = [kernel.source for kernel in kernels]
    barrier = (
        [BARRIER_SOURCE.strip("\n")] if any(kernel.kind == "grid" for kernel in kernels) else []
    )
    parts = [
        "\n".join(file_header(variant)),
        *barrier,
        *collect_functions("\n".join(sources)),
        *sources,
    ]
    return "\n\n\n".join(parts) + "\n"


def generate_step_kernels(
    plan: Plan, phase: Phase, variant: KernelVariant
) -> tuple[TritonKernel, ...]:
    """Generate one kernel per stage of a loop, to be launched in this order at every step."""
    partition = partition_stages(plan, phase.values)
    index_lines = _FORWARD_STEP if phase.direction > 0 else _BACKWARD_STEP
    return tuple(
        _generate_kernel(
            f"phase_{phase.id}_stage_{index}",
            stage,
            TileEmitter(partition, variant, freeze_ended_rows=True),
            index_lines,
            "step",
        )
        for index, stage in enumerate(partition.stages)
    )


def generate_row_kernels(
    plan: Plan, phase: Phase, group: FusionGroup, variant: KernelVariant
) -> tuple[TritonKernel, ...]:
    """Generate the kernels of a fusion group's epilogue, for all T·B rows at once."""
    partition = partition_stages(plan, [n for n in group.epilogue if has_generated_kernel(plan, n)])
    group_index = phase.groups.index(group)
    return tuple(
        _generate_kernel(
            f"phase_{phase.id}_group_{group_index}_stage_{index}",
            stage,
            TileEmitter(partition, variant, freeze_ended_rows=False),
            _ALL_ROWS,
            "rows",
        )
        for index, stage in enumerate(partition.stages)
    )


def generate_scan_kernel(plan: Plan, phase: Phase, variant: KernelVariant) -> TritonKernel:
    """Generate the kernel of a linear recurrence: a program runs all steps of one row.

    Each block of steps is solved by a parallel scan (Blelloch 1990), and its last value is carried
    into the next block.
    """
    partition = partition_stages(plan, phase.values)
    tile = TileEmitter(partition, variant, freeze_ended_rows=False)
    lines = list(emit_scan(tile, phase))
    arguments = tuple(tile.arguments.as_tuple())
    name, width = f"phase_{phase.id}_scan", max(stage.width for stage in partition.stages)
    return TritonKernel(
        name, format_function(name, "scan", arguments, lines), "scan", arguments, width, 0
    )


def has_generated_kernel(plan: Plan, value_id: int) -> bool:
    """Test whether a generated kernel computes an epilogue value of a batched phase."""
    value = plan.dataflow.values[value_id]
    return value.rate == "step" and value.operation != "onehot"


def _generate_kernel(
    name: str, stage: KernelStage, tile: TileEmitter, index_lines: tuple[str, ...], kind: KernelKind
) -> TritonKernel:
    lines = list(index_lines)
    lines += tile.emit_columns(stage.width, "tl.program_id(1) * BN")
    lines += tile.emit_body(stage)
    arguments = tuple(tile.arguments.as_tuple())
    values = tile.plan.dataflow.values
    matmuls = sum(values[piece.value].operation == "matmul" for piece in stage.slices)
    source = format_function(name, kind, arguments, lines)
    return TritonKernel(name, source, kind, arguments, stage.width, matmuls)


def format_function(
    name: str, kind: KernelKind, arguments: Iterable[KernelArgument], lines: Iterable[str]
) -> str:
    """Return the text of a kernel: leading parameters, tensors, constants and body."""
    leading = _LEADING_PARAMETERS[kind]
    integers = ", ".join(f'"{g}"' for g in leading if g not in INT64_POINTERS)
    tensors = "".join(f"{argument.name}, " for argument in arguments)
    signature = [f"{', '.join(leading)},", *_wrap(tensors.rstrip())]
    constants = _CONSTEXPR_PARAMETERS.get(kind, ("PRECISION", "BM", "BN", "BK"))
    signature += [f"{size}: tl.constexpr," for size in constants]
    body = [f"    {line}" for line in lines]
    head = [f"@triton.jit(do_not_specialize=[{integers}])", f"def {name}("]
    return "\n".join([*head, *(f"    {line}" for line in signature), "):", *body])


def _wrap(text: str) -> Iterator[str]:
    line = ""
    for word in text.split():
        if len(line) + len(word) > 88:
            yield line
            line = ""
        line += f"{' ' if line else ''}{word}"
    if line:
        yield line
