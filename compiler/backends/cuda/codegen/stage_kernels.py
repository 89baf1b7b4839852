"""The kernels of a phase: for each stage its source, and what it is launched with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from rnnc.compiler.backends.cuda.schedule.kernel_partition import Stage, stages_of
from rnnc.compiler.backends.cuda.schedule.persistent_layout import Shape
from rnnc.compiler.schedule.plan import Group, Phase, Plan

from .expressions import functions_in
from .grid_barrier import SOURCE
from .kernel_arguments import Argument, Case
from .scan_kernel import scan_lines
from .tile_body import Tile, header

Drive = Literal["step", "rows", "scan", "chip", "grid"]
_GIVEN: Final[dict[Drive, tuple[str, ...]]] = {
    "step": ("clock", "ahead", "B"),
    "rows": ("steps", "B"),
    "scan": ("steps", "B"),
    "chip": ("steps", "B"),
    "grid": ("steps", "B", "first", "last", "patience", "counters"),
}
"""The first parameters: whole numbers, the clock of a loop, the counters of a barrier."""

_SIZES: Final[dict[Drive, tuple[str, ...]]] = {
    "chip": ("PRECISION", "BM"),
    "grid": ("PRECISION", "BM", "LEVEL"),
}
"""What is known when a kernel is compiled, where the text does not say more."""

POINTERS: Final = ("clock", "counters")
"""Those of them that are tensors of 64 bits."""

_STEP: Final = (
    "b = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)",
    "rows = (b < B) & there",
    "row = t * B + b",
)
_FORWARD: Final = (
    "# clock: how many steps are done, and how many there are",
    "t = tl.load(clock) + ahead",
    "there = t < tl.load(clock + 1)",
    *_STEP,
)
_BACKWARD: Final = (
    "# clock: how many steps are done, and how many there are",
    "t = tl.load(clock + 1) - 1 - tl.load(clock) - ahead",
    "there = t >= 0",
    *_STEP,
)
_ROWS: Final = (
    "row = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)",
    "rows = row < tl.cast(steps, tl.int64) * B",
    "b = row % B",
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """One generated function.

    drive: what one launch computes: a `step` of all rows of the batch, all `rows` of all steps at
        once, a `scan` over all steps, or a loop over them (`chip`, `grid`).
    width: of its stage, which a launch cuts into tiles.
    products: how many sums of products a tile keeps in registers; how many levels of stages a
        `grid` has.
    shape: of a loop that keeps its weights, which the source is written for.
    """

    name: str
    source: str
    drive: Drive
    arguments: tuple[Argument, ...]
    width: int
    products: int
    shape: Shape | None = None


def file_of(kernels: Iterable[Kernel], case: Case) -> str:
    """The source of a file of kernels."""
    kernels = tuple(kernels)
    sources = [kernel.source for kernel in kernels]
    meeting = [SOURCE.strip("\n")] if any(kernel.drive == "grid" for kernel in kernels) else []
    parts = ["\n".join(header(case)), *meeting, *functions_in("\n".join(sources)), *sources]
    return "\n\n\n".join(parts) + "\n"


def step_kernels(plan: Plan, phase: Phase, case: Case) -> tuple[Kernel, ...]:
    """One kernel for each stage of a loop, to be launched in this order at every step."""
    stages = stages_of(plan, phase.values)
    before = _FORWARD if phase.direction > 0 else _BACKWARD
    return tuple(
        _kernel(
            f"phase_{phase.number}_stage_{index}",
            stage,
            Tile(stages, case, holds=True),
            before,
            "step",
        )
        for index, stage in enumerate(stages.stages)
    )


def row_kernels(plan: Plan, phase: Phase, group: Group, case: Case) -> tuple[Kernel, ...]:
    """The kernels of a group's elementwise values, for all steps and rows at once."""
    stages = stages_of(plan, [n for n in group.fused if is_generated(plan, n)])
    at = phase.groups.index(group)
    return tuple(
        _kernel(
            f"phase_{phase.number}_group_{at}_stage_{index}",
            stage,
            Tile(stages, case, holds=False),
            _ROWS,
            "rows",
        )
        for index, stage in enumerate(stages.stages)
    )


def scan_kernel(plan: Plan, phase: Phase, case: Case) -> Kernel:
    """The kernel of an affine recurrence: one row and some columns for all steps.

    Steps are taken in blocks, each solved by a parallel scan (Blelloch 1990), and what goes in is
    carried from block to block.
    """
    stages = stages_of(plan, phase.values)
    tile = Tile(stages, case, holds=False)
    lines = list(scan_lines(tile, phase))
    arguments = tuple(tile.arguments.all())
    name, width = f"phase_{phase.number}_scan", max(stage.width for stage in stages.stages)
    return Kernel(name, function_text(name, "scan", arguments, lines), "scan", arguments, width, 0)


def is_generated(plan: Plan, number: int) -> bool:
    """Whether a value that a batched phase fuses is computed by a generated kernel."""
    value = plan.flow.values[number]
    return value.rate == "step" and value.operation != "onehot"


def _kernel(name: str, stage: Stage, tile: Tile, before: tuple[str, ...], drive: Drive) -> Kernel:
    lines = list(before)
    lines += tile.columns(stage.width, "tl.program_id(1) * BN")
    lines += tile.body(stage)
    arguments = tuple(tile.arguments.all())
    values = tile.plan.flow.values
    products = sum(values[piece.value].operation == "matmul" for piece in stage.pieces)
    source = function_text(name, drive, arguments, lines)
    return Kernel(name, source, drive, arguments, stage.width, products)


def function_text(
    name: str, drive: Drive, arguments: Iterable[Argument], lines: Iterable[str]
) -> str:
    """The text of a kernel: parameters, tensors and sizes of a tile, and its body."""
    given = _GIVEN[drive]
    whole = ", ".join(f'"{g}"' for g in given if g not in POINTERS)
    tensors = "".join(f"{argument.name}, " for argument in arguments)
    signature = [f"{', '.join(given)},", *_wrapped(tensors.rstrip())]
    sizes = _SIZES.get(drive, ("PRECISION", "BM", "BN", "BK"))
    signature += [f"{size}: tl.constexpr," for size in sizes]
    body = [f"    {line}" for line in lines]
    head = [f"@triton.jit(do_not_specialize=[{whole}])", f"def {name}("]
    return "\n".join([*head, *(f"    {line}" for line in signature), "):", *body])


def _wrapped(text: str) -> Iterator[str]:
    line = ""
    for word in text.split():
        if len(line) + len(word) > 88:
            yield line
            line = ""
        line += f"{' ' if line else ''}{word}"
    if line:
        yield line
