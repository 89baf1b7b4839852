"""Initialize parameters by the initializers of the spec, from torch's global generator."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rnnc.operators.graph.operator_graph import Initializer, Parameter


def initialize_parameter(parameter: Parameter) -> Tensor:
    """Return an initial value in torch's default dtype, drawn from torch's global generator.

    `blocks` are drawn block by block. Fans are those of the matrix as it multiplies.
    """
    value = torch.empty(parameter.shape, dtype=torch.get_default_dtype())
    for call in parameter.initializers:
        if parameter.form == "blocks":
            value = torch.stack([_apply_initializer(call, block) for block in value])
        else:
            value = _apply_initializer(call, value)
    return value


def _apply_initializer(call: Initializer, value: Tensor) -> Tensor:
    match call.name:
        case "glorot":
            # Glorot and Bengio 2010, eq. 16: U(±√(6 / (fan in + fan out)))
            bound = math.sqrt(6.0 / (value.shape[-1] + value.shape[-2]))
            return value.uniform_(-bound, bound)
        case "orthogonal":
            return torch.nn.init.orthogonal_(value)
        case "normal":
            return value.normal_(0.0, call.arguments[0])
        case "uniform":
            return value.uniform_(*call.arguments)
        case "constant":
            return value.fill_(call.arguments[0])
        case "sparse":
            return _sparse(value, int(call.arguments[0]))
        case "scale":
            largest = torch.linalg.matrix_norm(value.double(), ord=2)
            return _rescale(value, largest, call.arguments[0])
        case _:
            assert call.name == "radius", call.name
            largest = torch.linalg.eigvals(value.double()).abs().max()
            return _rescale(value, largest, call.arguments[0])


def _sparse(value: Tensor, k: int) -> Tensor:
    """Keep k random entries of each row (Pascanu et al. 2014: 20 incoming connections a unit)."""
    chosen = torch.rand(value.shape).topk(k, dim=-1).indices
    return value * torch.zeros_like(value).scatter_(-1, chosen, 1.0)


def _rescale(value: Tensor, norm: Tensor, target: float) -> Tensor:
    return value if norm == 0 else (value.double() * (target / norm)).to(value.dtype)
