"""Kernel arguments: the tensor that each name in a kernel's source is bound to in a call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rnnc.compiler.ir.dataflow import Operand, may_cross_segment
from rnnc.compiler.schedule.plan import Buffer

if TYPE_CHECKING:
    from torch import Tensor

    from rnnc.compiler.backends.aten.buffers import AtenMemory


ArgumentKind = Literal[
    "buffer", "series", "whole", "same_segment", "same_segment_no_carry", "valid", "initial"
]


@dataclass(frozen=True, slots=True)
class KernelVariant:
    """Properties of a call that specialize the source of a kernel.

    resets, lengths: whether the call has any; without them no masks are generated.
    compute_dtype: float32; float64 in tests only.
    tiny: the smallest normal number of the model's dtype.
    """

    resets: bool = False
    lengths: bool = False
    compute_dtype: Literal["float32", "float64"] = "float32"
    tiny: float = 1.1754943508222875e-38

    def may_cross_segment(
        self, delay: int, *, has_boundary_value: bool, has_carry: bool = True
    ) -> bool:
        """Apply `SequenceMasks.may_cross_segment` to calls of this variant."""
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

    kind, and the key that selects the tensor:
        `buffer`: a buffer of the plan, by id;
        `series`: a shifted series, by operand: an input, or a buffer with too short margins;
        `whole`: a per-call or per-row value, by id;
        `same_segment`: (T, B), the mask of steps whose operand is in the same segment, by delay;
        `same_segment_no_carry`: the same for a state without a carry;
        `valid`: (T, B), the mask of valid steps;
        `initial`: the initial value of a state, by name.
    full_precision: whether the buffer is float32 in a float16 or bfloat16 model.
    """

    name: str
    kind: ArgumentKind
    key: int | str | Operand = 0
    full_precision: bool = False

    def bind(self, memory: AtenMemory) -> Tensor:
        """Return the tensor for one call: contiguous, 16-byte aligned, booleans as uint8."""
        import torch

        tensor = self._resolve(memory)
        if tensor.dtype == torch.bool:
            tensor = tensor.contiguous().view(torch.uint8)
        if self.kind == "buffer":
            return tensor
        tensor = tensor.contiguous()
        return tensor if tensor.data_ptr() % 16 == 0 else tensor.clone()

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
            case "same_segment" | "same_segment_no_carry":
                assert isinstance(self.key, int)
                has_carry = self.kind == "same_segment"
                return memory.boundaries.same_segment(self.key, has_carry=has_carry)
            case "valid":
                valid = memory.boundaries.valid
                assert valid is not None
                return valid
        assert isinstance(self.key, str)
        return memory.boundaries.initial_value(self.key).detach()


def is_full_precision(buffer: Buffer) -> bool:
    """Test for a buffer that carries values between steps, which is float32 at least.

    Margins mark such buffers: states, and in the backward pass the terms of their cotangents. In
    16 bits their rounding errors would accumulate over the steps.
    """
    return bool(buffer.steps_before or buffer.steps_after)


class KernelArguments:
    """The distinct arguments of a kernel under construction, in order of first use."""

    def __init__(self) -> None:
        self._by_name: dict[str, KernelArgument] = {}

    def add(self, argument: KernelArgument) -> str:
        """Register an argument unless it is known, and return its name."""
        return self._by_name.setdefault(argument.name, argument).name

    def as_tuple(self) -> Sequence[KernelArgument]:
        """Return all arguments in order of first use."""
        return tuple(self._by_name.values())
