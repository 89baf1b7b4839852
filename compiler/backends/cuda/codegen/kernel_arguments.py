"""What a kernel is given: a tensor for every name in its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rnnc.compiler.ir.dataflow import Operand, may_cross_segment
from rnnc.compiler.schedule.plan import Buffer

if TYPE_CHECKING:
    from torch import Tensor

    from rnnc.compiler.backends.aten.buffers import AtenMemory


@dataclass(frozen=True, slots=True)
class KernelVariant:
    """What a kernel's source depends on besides its plan.

    resets, lengths: whether the call has any; without them nothing is masked.
    compute_dtype: the type in which it computes: float32, but for tests of float64.
    tiny: the smallest normal number of the model's own type.
    """

    resets: bool = False
    lengths: bool = False
    compute_dtype: Literal["float32", "float64"] = "float32"
    tiny: float = 1.1754943508222875e-38

    def may_cross_segment(
        self, delay: int, *, has_boundary_value: bool, has_carry: bool = True
    ) -> bool:
        """Whether a read at some delay may meet the end of a segment (as `Boundaries.may_cross_segment`)."""
        return may_cross_segment(
            delay,
            has_boundary_value=has_boundary_value,
            has_carry=has_carry,
            resets=self.resets,
            lengths=self.lengths,
        )


@dataclass(frozen=True, slots=True)
class KernelArgument:
    """One tensor of a kernel.

    kind: `buffer` of the plan, by number; a `series` that comes with the call or is too short for
        how it is read, shifted, by read; `whole`, a value of a call or row, by number; `linked`,
        (T, B) by delay; `within`, the same for what has no past; `alive`, (T, B); `initial`, by the
        name of a state.
    full_precision: whether it is a buffer that is float32 whatever the model is.
    """

    name: str
    kind: Literal["buffer", "series", "whole", "linked", "within", "alive", "initial"]
    key: int | str | Operand = 0
    full_precision: bool = False

    def bind(self, memory: AtenMemory) -> Tensor:
        """Its tensor for one call: rows without gaps, booleans as bytes, the address aligned."""
        import torch

        found = self._resolve(memory)
        if found.dtype == torch.bool:
            found = found.contiguous().view(torch.uint8)
        if self.kind == "buffer":
            return found
        found = found.contiguous()
        return found if found.data_ptr() % 16 == 0 else found.clone()

    def _resolve(self, memory: AtenMemory) -> Tensor:
        match self.kind:
            case "buffer":
                assert isinstance(self.key, int)
                return memory.buffer(self.key)
            case "series":
                assert isinstance(self.key, Operand)
                series = memory.shifted_series(self.key)
                return series.expand(memory.call.steps, memory.call.batch_size, series.shape[-1])
            case "whole":
                assert isinstance(self.key, int)
                return memory.series(self.key)
            case "linked" | "within":
                assert isinstance(self.key, int)
                return memory.boundaries.same_segment(self.key, has_carry=self.kind == "linked")
            case "alive":
                alive = memory.boundaries.valid
                assert alive is not None
                return alive
        assert isinstance(self.key, str)
        return memory.boundaries.initial_value(self.key).detach()


def is_full_precision(buffer: Buffer) -> bool:
    """Whether a buffer's numbers are float32 at least: what steps hand on to each other.

    A buffer with margins in front or behind is read at other steps: states, and in the backward
    pass what their gradients are made of. In 16 bits they would lose a little at every step.
    """
    return bool(buffer.steps_before or buffer.steps_after)


class KernelArguments:
    """The arguments of a kernel that is being written, each once, in the order of first use."""

    def __init__(self) -> None:
        self._by_name: dict[str, KernelArgument] = {}

    def add(self, argument: KernelArgument) -> str:
        """The name of an argument."""
        return self._by_name.setdefault(argument.name, argument).name

    def as_tuple(self) -> Sequence[KernelArgument]:
        """Every argument."""
        return tuple(self._by_name.values())
