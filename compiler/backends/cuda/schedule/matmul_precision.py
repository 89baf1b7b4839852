"""How exactly float32 products are taken: as `torch.nn.LSTM` takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import dtype

MatmulPrecision = Literal["ieee", "tf32", "tf32x3"]


def float32_matmul_precision() -> MatmulPrecision:
    """TF32 where torch allows it to recurrent networks, else three TF32 products for each one.

    Three products of split numbers are about as exact as float32 itself.
    """
    import torch

    recurrent = getattr(torch.backends.cudnn, "rnn", None)
    if recurrent is not None:
        allowed = recurrent.fp32_precision == "tf32"
    else:
        allowed = torch.backends.cudnn.allow_tf32
    return "tf32" if allowed else "tf32x3"


def matmul_precision(kind: dtype) -> MatmulPrecision:
    """How products of numbers of a type are taken: only float32 leaves a choice."""
    import torch

    return float32_matmul_precision() if kind == torch.float32 else "ieee"
