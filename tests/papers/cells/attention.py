"""Networks that look back through a window."""

from __future__ import annotations

import torch
from papers.cells.parameters import Parameters, Steps, cell, column, weighted
from torch import Tensor, sigmoid, tanh


def _window(series: Steps, first: int, last: int) -> Steps:
    """The entries first..last of a series that exist."""
    return series[max(first, 0) : max(last + 1, 0)]


def _attend(scores: Steps, vectors: Steps, nothing: Tensor) -> Tensor:
    return weighted(torch.softmax(torch.stack(scores), 0), vectors) if scores else nothing


@cell
def local_attention(p: Parameters, x: Steps) -> Steps:
    """Vaswani et al. 2017, eq. 1, over the last four steps."""
    y = []
    for t, x_t in enumerate(x):
        near, q = _window(x, t - 3, t), p.Q @ x_t
        scores = [torch.dot(q, p.K @ x_i) / 2 for x_i in near]
        y.append(_attend(scores, [p.V @ x_i for x_i in near], p.zeros(4)))
    return y


@cell
def window_memory_rnn(p: Parameters, x: Steps) -> Steps:
    """Luong et al. 2015, eqs. 5 and 8, over the last five states of the network itself."""
    h: Steps = []
    for t, x_t in enumerate(x):
        last = h[t - 1] if t else p.zeros(4)
        z = tanh(p.U @ x_t + p.W @ last + p.b)
        near = _window(h, t - 5, t - 1)
        s = _attend([torch.dot(z, h_i) for h_i in near], near, p.zeros(4))
        h.append(tanh(p.Wc @ torch.cat([s, z])))
    return h


@cell
def neural_cache(p: Parameters, x: Steps) -> Steps:
    """Grave et al. 2017, eqs. 2-4: θ = 0.7, λ = 0.2, a cache of five steps."""
    h: Steps = []
    y = []
    for t, x_t in enumerate(x):
        last = h[t - 1] if t else p.zeros(4)
        h.append(tanh(column(p.E, x_t) + p.W @ last + p.b))
        cache = p.zeros(5)
        near = range(max(t - 5, 0), t)
        if near:
            a = torch.softmax(torch.stack([0.7 * torch.dot(h[t], h[i]) for i in near]), 0)
            for weight, i in zip(a, near, strict=True):
                cache = cache + weight * torch.eye(5, dtype=cache.dtype)[int(x[i + 1])]
        y.append(0.8 * torch.softmax(p.V @ h[t], 0) + 0.2 * cache)
    return y


@cell
def recurrent_memory(p: Parameters, x: Steps) -> Steps:
    """Tran et al. 2016, eqs. 1-4: a memory of the last four words, merged by a gated unit."""
    h, y = p.zeros(4), []
    for t, x_t in enumerate(x):
        h = tanh(column(p.E, x_t) + p.W @ h + p.b)
        near = _window(x, t - 3, t)
        scores = [torch.dot(h, column(p.M, x_i)) for x_i in near]
        s = _attend(scores, [column(p.C, x_i) for x_i in near], p.zeros(4))
        z, r = sigmoid(p.Wz @ s + p.Uz @ h), sigmoid(p.Wr @ s + p.Ur @ h)
        y.append((1 - z) * h + z * tanh(p.Wg @ s + p.Ug @ (r * h)))
    return y
