"""The tensors of one execution: what is carried from step to step is float32 at least."""

from __future__ import annotations

import torch
from torch import Tensor

from rnnc.compiler.backends.aten.buffers import AtenMemory
from rnnc.compiler.backends.cuda.codegen.kernel_arguments import is_full_precision
from rnnc.compiler.calls.sequence_masks import SequenceMasks
from rnnc.compiler.schedule.plan import Buffer, Plan
from rnnc.operators.semantics.call import Call


class CudaMemory(AtenMemory):
    """As ATen's, but for the type of what steps hand on to each other."""

    def __init__(self, plan: Plan, call: Call, like: Tensor, boundaries: SequenceMasks) -> None:
        super().__init__(plan, call, like, boundaries)
        self.full_precision_dtype = like.dtype if like.dtype == torch.float64 else torch.float32

    def buffer_dtype(self, buffer: Buffer) -> torch.dtype:
        """The type of a buffer's numbers."""
        return self.full_precision_dtype if is_full_precision(buffer) else self.like.dtype
