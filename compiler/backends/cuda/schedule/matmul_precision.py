"""Precision of float32 matmuls, which follows torch's setting for `torch.nn.LSTM`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

MatmulPrecision = Literal["ieee", "tf32", "tf32x3"]


def float32_matmul_precision() -> MatmulPrecision:
    """Return tf32 if torch allows it for RNNs, else tf32x3.

    tf32x3 splits each operand into two TF32 numbers and is about as exact as float32.
    """
    import torch

    recurrent = getattr(torch.backends.cudnn, "rnn", None)
    if recurrent is not None:
        allowed = recurrent.fp32_precision == "tf32"
    else:
        allowed = torch.backends.cudnn.allow_tf32
    return "tf32" if allowed else "tf32x3"


def matmul_precision(dtype: torch.dtype) -> MatmulPrecision:
    """Return the matmul precision of a dtype; only float32 has a setting."""
    import torch

    return float32_matmul_precision() if dtype == torch.float32 else "ieee"
