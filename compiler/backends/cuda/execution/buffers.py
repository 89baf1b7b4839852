"""The tensors of one execution: what is carried from step to step is float32 at least."""

from __future__ import annotations

import torch
from torch import Tensor

from rnnc.compiler.backends.aten.buffers import Memory
from rnnc.compiler.backends.cuda.codegen.kernel_arguments import is_wide
from rnnc.compiler.calls.sequence_masks import Boundaries
from rnnc.compiler.schedule.plan import Buffer, Plan
from rnnc.operators.semantics.call import Call


class CudaMemory(Memory):
    """As ATen's, but for the type of what steps hand on to each other."""

    def __init__(self, plan: Plan, call: Call, like: Tensor, boundaries: Boundaries) -> None:
        super().__init__(plan, call, like, boundaries)
        self.wide = like.dtype if like.dtype == torch.float64 else torch.float32

    def dtype_of(self, buffer: Buffer) -> torch.dtype:
        """The type of a buffer's numbers."""
        return self.wide if is_wide(buffer) else self.like.dtype
