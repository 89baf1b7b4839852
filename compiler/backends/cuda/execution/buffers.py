"""Buffers of one call, in float32 at least if they carry values between steps."""

from __future__ import annotations

import torch
from torch import Tensor

from rnnc.compiler.backends.aten.buffers import AtenMemory
from rnnc.compiler.backends.cuda.codegen.kernel_arguments import is_full_precision
from rnnc.compiler.calls.sequence_masks import SequenceMasks
from rnnc.compiler.schedule.plan import Buffer, Plan
from rnnc.operators.semantics.call import Call


class CudaMemory(AtenMemory):
    """The buffers of a call, float32 where `is_full_precision`, else in the model's dtype."""

    def __init__(self, plan: Plan, call: Call, like: Tensor, boundaries: SequenceMasks) -> None:
        super().__init__(plan, call, like, boundaries)
        self.full_precision_dtype = like.dtype if like.dtype == torch.float64 else torch.float32

    def buffer_dtype(self, buffer: Buffer) -> torch.dtype:
        """Return the dtype of a buffer."""
        return self.full_precision_dtype if is_full_precision(buffer) else self.like.dtype
