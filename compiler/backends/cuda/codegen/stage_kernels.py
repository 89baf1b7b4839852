"""Generate one kernel per stage: for a step of a loop, and for all rows of a batched phase."""

from __future__ import annotations

from typing import Final

from rnnc.compiler.backends.cuda.schedule.kernel_partition import KernelStage, partition_stages
from rnnc.compiler.schedule.plan import FusionGroup, Phase, Plan

from .kernel_arguments import KernelVariant
from .tile_body import TileEmitter
from .triton_kernel import KernelKind, TritonKernel, format_function

_BATCH_ROWS: Final = (
    "b = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)",
    "row_mask = (b < B) & in_range",
    "row = t * B + b",
)
_FORWARD_STEP: Final = (
    "# step_counter: steps done, and their total number",
    "t = tl.load(step_counter) + offset",
    "in_range = t < tl.load(step_counter + 1)",
    *_BATCH_ROWS,
)
_BACKWARD_STEP: Final = (
    "# step_counter: steps done, and their total number",
    "t = tl.load(step_counter + 1) - 1 - tl.load(step_counter) - offset",
    "in_range = t >= 0",
    *_BATCH_ROWS,
)
_ALL_ROWS: Final = (
    "row = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)",
    "row_mask = row < tl.cast(steps, tl.int64) * B",
    "b = row % B",
)


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


def has_generated_kernel(plan: Plan, value_id: int) -> bool:
    """Return True if a generated kernel computes this epilogue value of a batched phase."""
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
