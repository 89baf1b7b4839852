"""Translate graph nodes to PyTorch calls that accept (B, n) and (T, B, n) alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnc.operators.graph.operator_graph import Node
from rnnc.operators.semantics.interpreter import (
    BINARY_OPS,
    UNARY_OPS,
    lookup_symbol,
    lp,
    multiply_matrix,
    split_groups,
)
from rnnc.runtime.benchmark.workload.candidate import Unavailable

TorchCall = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
"""A function, its arguments after the operands, and its keyword arguments."""


def torch_call(node: Node) -> TorchCall:
    """Return the PyTorch call that computes a node from its operands.

    Raises:
        Unavailable: for an operation that has no plain form.
    """
    operation, attributes = node.operation, node.attributes
    match operation:
        case "constant":
            return torch.full, ((node.size,), float(attributes[0])), {}
        case "matmul":
            return multiply_matrix, (), {"transposed": bool(attributes[0])}
        case "lookup":
            return lookup_symbol, (), {"transposed": bool(attributes[0])}
        case "slice":
            start, stop = (int(a) for a in attributes)
            return torch.narrow, (-1, start, stop - start), {}
        case "onehot":
            return one_hot, (node.size,), {}
        case "maxout":
            return maxout, (node.size,), {}
        case "lp":
            return lp, (int(attributes[0]),), {}
        case "concatenate":
            return concatenate, (), {}
        case "layernorm":
            return layernorm, (), {}
    if operation in UNARY_OPS:
        return UNARY_OPS[operation], (), {}
    if operation in BINARY_OPS:
        return BINARY_OPS[operation], (), {}
    raise Unavailable(f"its operation `{operation}` is none that a cell is written with")


def one_hot(symbol: Tensor, size: int) -> Tensor:
    """Return the one-hot vector of a symbol; zero for no symbol (−1)."""
    return F.one_hot(symbol.clamp(min=0), size).float() * (symbol >= 0).unsqueeze(-1)


def maxout(z: Tensor, count: int) -> Tensor:
    """Return the largest entry of each of `count` groups."""
    return split_groups(z, count).amax(-1)


def concatenate(*values: Tensor) -> Tensor:
    """Concatenate all operands; broadcast those without rows."""
    rows = max((value.shape[:-1] for value in values), key=len)
    return torch.cat([value.expand(*rows, value.shape[-1]) for value in values], -1)


def layernorm(z: Tensor, g: Tensor, b: Tensor) -> Tensor:
    """Apply layer normalization as in torch."""
    return g * F.layer_norm(z, z.shape[-1:], eps=1e-5) + b
