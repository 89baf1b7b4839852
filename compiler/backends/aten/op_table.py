"""Table from operations of the dataflow to ATen functions that write into a given tensor.

The last axis is the vector; before it come rows, or steps and rows, or nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnc.operators.graph.operator_graph import Attribute

OutFunction = Callable[..., Any]
"""Signature: (*operands, out=tensor)."""

_nn: Final[Any] = torch._C._nn  # variants of the activations with `out=`


def _copy_into_out(function: Callable[..., Tensor]) -> OutFunction:
    def compute(*operands: Tensor, out: Tensor) -> Tensor:
        return out.copy_(function(*operands))

    return compute


def gelu_slope(z: Tensor) -> Tensor:
    """Return the derivative of z Φ(z): Φ(z) + z φ(z)."""
    normal = 0.5 * (1 + torch.erf(z * math.sqrt(0.5)))
    return normal + z * torch.exp(-0.5 * z * z) * (1 / math.sqrt(2 * math.pi))


def softplus_slope(z: Tensor) -> Tensor:
    """Return the derivative of torch's softplus, which is z itself from 20 on."""
    return torch.where(z > 20, torch.ones((), dtype=z.dtype, device=z.device), torch.sigmoid(z))


def _one_minus(z: Tensor, out: Tensor) -> Tensor:
    return torch.add(z.new_ones(()), z, alpha=-1, out=out)


def _positive(z: Tensor, out: Tensor) -> Tensor:
    return torch.gt(z, 0, out=out)


def _equal(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    return torch.eq(a, b, out=out)


def _at_least_tiny(z: Tensor, out: Tensor) -> Tensor:
    return torch.clamp(z, min=torch.finfo(z.dtype).tiny, out=out)


def _relu(z: Tensor, out: Tensor) -> Tensor:
    return torch.clamp(z, min=0, out=out)


def _select(c: Tensor, a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    return torch.where(c if c.dtype == torch.bool else c != 0, a, b, out=out)


def _variadic(pair: OutFunction) -> OutFunction:
    """Extend an operation of two operands to any number of them."""

    def compute(*operands: Tensor, out: Tensor) -> Tensor:
        # First the operand that `out` overwrites, then those with the shape of the result.
        out_address = out.data_ptr()
        total, *operands_left = sorted(
            operands, key=lambda o: (o.data_ptr() != out_address, o.shape != out.shape)
        )
        if not operands_left or total.shape != out.shape:
            total = out.copy_(total)
        for operand in operands_left:
            total = pair(total, operand, out=out)
        return out

    return compute


def _linear(a: Tensor, b: Tensor, v: Tensor, out: Tensor) -> Tensor:
    return torch.addcmul(b, a, v, out=out)


def subtract_product(total: Tensor, a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """Compute total − a ⊙ b."""
    return torch.addcmul(total, a, b, value=-1, out=out)


ELEMENTWISE_FUNCTIONS: Final[dict[str, OutFunction]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": _relu,
    "leaky_relu": _nn.leaky_relu,
    "elu": _nn.elu,
    # torch's `out=` variant leaves a strided float32 tensor unchanged.
    "gelu": _copy_into_out(F.gelu),
    "silu": _nn.silu,
    "softplus": _nn.softplus,
    "softsign": _copy_into_out(F.softsign),
    "exp": torch.exp,
    "log": torch.log,
    "abs": torch.abs,
    "sqrt": torch.sqrt,
    "sin": torch.sin,
    "cos": torch.cos,
    "negate": torch.neg,
    "positive": _positive,
    "sign": torch.sign,
    "square": torch.square,
    "reciprocal": torch.reciprocal,
    "at_least_tiny": _at_least_tiny,
    "gelu_slope": _copy_into_out(gelu_slope),
    "softplus_slope": _copy_into_out(softplus_slope),
    "one_minus": _one_minus,
    "add": _variadic(torch.add),
    "multiply": _variadic(torch.mul),
    "subtract": torch.sub,
    "divide": torch.div,
    "power": torch.pow,
    "x_log_y": torch.xlogy,
    "logaddexp": torch.logaddexp,
    "equal": _equal,
    "select": _select,
    "linear": _linear,
}


def split_groups(z: Tensor, count: int) -> Tensor:
    """Split the entries of a vector into `count` groups: (…, n) to (…, count, n / count)."""
    return z.reshape(*z.shape[:-1], count, z.shape[-1] // count)


def group_sum(z: Tensor, k: int) -> Tensor:
    """Sum each group of k neighboring entries."""
    if k == z.shape[-1]:
        return z.sum(-1, keepdim=True)
    return split_groups(z, z.shape[-1] // k).sum(-1)


def group_max(z: Tensor, k: int) -> Tensor:
    """Return the largest entry of each group of k neighboring entries."""
    return split_groups(z, z.shape[-1] // k).amax(-1)


def spread(z: Tensor, k: int) -> Tensor:
    """Repeat every entry k times."""
    if z.shape[-1] == 1:
        return z.expand(*z.shape[:-1], k)
    return z.repeat_interleave(k, -1)


def pad(z: Tensor, start: int, width: int) -> Tensor:
    """Place the entries at `start` of a vector of zeros that is `width` wide."""
    return F.pad(z, (start, width - start - z.shape[-1]))


def onehot(symbol: Tensor, width: int) -> Tensor:
    """Return one-hot vectors of symbols as integers; zero for no symbol (−1)."""
    return F.one_hot(symbol.clamp(min=0), width) * (symbol >= 0).unsqueeze(-1)


def matmul(weight: Tensor, vector: Tensor, transposed: bool) -> Tensor:
    """Multiply a matrix, or its transpose, by vectors; a matrix (k, r, c) is block-diagonal."""
    if weight.dim() == 2:
        return vector @ weight if transposed else F.linear(vector, weight)
    groups = split_groups(vector, len(weight))
    equation = "...kr,krc->...kc" if transposed else "...kc,krc->...kr"
    return torch.einsum(equation, groups, weight).flatten(-2)


def lookup_column(weight: Tensor, symbol: Tensor, transposed: bool) -> Tensor:
    """Return the column (row, if transposed) of a matrix at each symbol; zero for none (−1)."""
    if weight.dim() == 3:
        weight = torch.block_diag(*weight)  # type: ignore[no-untyped-call]
    rows = weight if transposed else weight.t()
    columns = rows[symbol.clamp(min=0)]
    return columns.masked_fill_((symbol < 0).unsqueeze(-1), 0)


def outer_sum(a: Tensor, b: Tensor, blocks: tuple[Attribute, ...]) -> Tensor:
    """Return Σ a bᵀ over all leading axes; with blocks, only the diagonal blocks."""
    a = a.reshape(-1, a.shape[-1])
    b = b.reshape(-1, b.shape[-1])
    if not blocks:
        return a.t() @ b
    k = int(blocks[0])
    return torch.einsum("nkr,nkc->krc", split_groups(a, k), split_groups(b, k))


def indexed_sum(a: Tensor, symbol: Tensor, attributes: tuple[Attribute, ...]) -> Tensor:
    """Sum vectors into the column (row, if transposed) of their symbols; returns the matrix.

    The sum runs in a fixed order, never by atomic additions, so that two runs give equal bits.
    """
    transposed, *shape = (int(x) for x in attributes)
    rows, columns = (shape[-2] * shape[0], shape[-1] * shape[0]) if len(shape) == 3 else shape
    count = rows if transposed else columns
    flat = a.reshape(-1, a.shape[-1])
    # An extra row collects steps without a symbol, and is dropped.
    index = symbol.reshape(-1)
    index = torch.where(index < 0, count, index)
    total = _ordered_index_add(flat, index, count + 1)[:count]
    dense = total if transposed else total.t()
    if len(shape) == 3:
        k, r, c = shape
        return torch.stack([dense[i * r : (i + 1) * r, i * c : (i + 1) * c] for i in range(k)])
    return dense


def _ordered_index_add(values: Tensor, index: Tensor, count: int) -> Tensor:
    total = values.new_zeros(count, values.shape[-1])
    if not len(values):
        return total
    if values.device.type == "cpu":
        # On CPUs index_add_ adds in a fixed order.
        return total.index_add_(0, index, values)
    order = torch.argsort(index, stable=True)
    lengths = torch.bincount(index, minlength=count)
    return torch.segment_reduce(values[order], "sum", lengths=lengths, initial=0.0)
