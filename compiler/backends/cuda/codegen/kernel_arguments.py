"""What a kernel is given: a tensor for every name in its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rnnc.compiler.ir.dataflow import Read, cuts
from rnnc.compiler.schedule.plan import Buffer

if TYPE_CHECKING:
    from torch import Tensor

    from rnnc.compiler.backends.aten.buffers import Memory


@dataclass(frozen=True, slots=True)
class Case:
    """What a kernel's source depends on besides its plan.

    resets, lengths: whether the call has any; without them nothing is masked.
    real: the type in which it computes: float32, but for tests of float64.
    tiny: the smallest normal number of the model's own type.
    """

    resets: bool = False
    lengths: bool = False
    real: Literal["float32", "float64"] = "float32"
    tiny: float = 1.1754943508222875e-38

    def cuts(self, delay: int, *, bounded: bool, past: bool = True) -> bool:
        """Whether a read at some delay may meet the end of a segment (as `Boundaries.cuts`)."""
        return cuts(delay, bounded=bounded, past=past, resets=self.resets, lengths=self.lengths)


@dataclass(frozen=True, slots=True)
class Argument:
    """One tensor of a kernel.

    kind: `buffer` of the plan, by number; a `series` that comes with the call or is too short for
        how it is read, shifted, by read; `whole`, a value of a call or row, by number; `linked`,
        (T, B) by delay; `within`, the same for what has no past; `alive`, (T, B); `initial`, by the
        name of a state.
    wide: whether it is a buffer that is float32 whatever the model is.
    """

    name: str
    kind: Literal["buffer", "series", "whole", "linked", "within", "alive", "initial"]
    key: int | str | Read = 0
    wide: bool = False

    def bind(self, memory: Memory) -> Tensor:
        """Its tensor for one call: rows without gaps, booleans as bytes, the address aligned."""
        import torch

        found = self._find(memory)
        if found.dtype == torch.bool:
            found = found.contiguous().view(torch.uint8)
        if self.kind == "buffer":
            return found
        found = found.contiguous()
        return found if found.data_ptr() % 16 == 0 else found.clone()

    def _find(self, memory: Memory) -> Tensor:
        match self.kind:
            case "buffer":
                assert isinstance(self.key, int)
                return memory.buffer(self.key)
            case "series":
                assert isinstance(self.key, Read)
                series = memory.shifted(self.key)
                return series.expand(memory.call.steps, memory.call.rows, series.shape[-1])
            case "whole":
                assert isinstance(self.key, int)
                return memory.now(self.key)
            case "linked" | "within":
                assert isinstance(self.key, int)
                return memory.boundaries.linked(self.key, past=self.kind == "linked")
            case "alive":
                alive = memory.boundaries.alive
                assert alive is not None
                return alive
        assert isinstance(self.key, str)
        return memory.boundaries.initial(self.key).detach()


def is_wide(buffer: Buffer) -> bool:
    """Whether a buffer's numbers are float32 at least: what steps hand on to each other.

    A buffer with margins in front or behind is read at other steps: states, and in the backward
    pass what their gradients are made of. In 16 bits they would lose a little at every step.
    """
    return bool(buffer.before or buffer.after)


class Arguments:
    """The arguments of a kernel that is being written, each once, in the order of first use."""

    def __init__(self) -> None:
        self._found: dict[str, Argument] = {}

    def add(self, argument: Argument) -> str:
        """The name of an argument."""
        return self._found.setdefault(argument.name, argument).name

    def all(self) -> Sequence[Argument]:
        """Every argument."""
        return tuple(self._found.values())
