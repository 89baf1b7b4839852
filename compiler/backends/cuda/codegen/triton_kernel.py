"""A generated kernel: its parameters, its launch properties, and the text of its function."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from rnnc.compiler.backends.cuda.schedule.persistent_layout import PersistentLayout

from .kernel_arguments import KernelArgument

KernelKind = Literal["step", "rows", "scan", "chip", "grid"]
_LEADING_PARAMETERS: Final[dict[KernelKind, tuple[str, ...]]] = {
    "step": ("step_counter", "offset", "B"),
    "rows": ("steps", "B"),
    "scan": ("steps", "B"),
    "chip": ("steps", "B"),
    "grid": ("steps", "B", "first", "last", "polls_left", "counters"),
}
"""The first parameters: integers, the step counter of a loop, the counters of a barrier."""

_CONSTEXPR_PARAMETERS: Final[dict[KernelKind, tuple[str, ...]]] = {
    "chip": ("PRECISION", "BM"),
    "grid": ("PRECISION", "BM", "LEVEL"),
}
"""The compile-time constants of persistent kernels; other kinds take `_TILE_CONSTANTS`."""

_TILE_CONSTANTS: Final = ("PRECISION", "BM", "BN", "BK")
"""Matmul precision, and rows, columns and depth of a tile."""

INT64_POINTERS: Final = ("step_counter", "counters")
"""The leading parameters that are int64 tensors."""


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
    levels: int = 0


def format_function(
    name: str, kind: KernelKind, arguments: Iterable[KernelArgument], lines: Iterable[str]
) -> str:
    """Return the text of a kernel: leading parameters, tensors, constants and body."""
    leading = _LEADING_PARAMETERS[kind]
    integers = ", ".join(f'"{name}"' for name in leading if name not in INT64_POINTERS)
    tensors = "".join(f"{argument.name}, " for argument in arguments)
    signature = [f"{', '.join(leading)},", *_wrap(tensors.rstrip())]
    constants = _CONSTEXPR_PARAMETERS.get(kind, _TILE_CONSTANTS)
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
