"""Losses by target type (Bernoulli, categorical, squared error), weighted and reduced."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from rnnc.compiler.calls.tensor_storage import concrete_values

from .loss_checks import check_loss_arguments, check_range, check_row_lengths, normalize_weight


def step_losses(kind: str, y: Tensor, target: Tensor) -> Tensor:
    """Compute the loss of every step from the natural parameters of its distribution.

    * `binary`: independent Bernoulli of logits y; with s = softplus, s(y) - target * y summed over
      the components, in nats.
    * `symbol`: categorical of logits y, log(sum(exp(y))) - y[target], in nats.
    * `real`: squared error, (y - target)**2 summed over the components.

    Args:
        kind: `binary`, `symbol` or `real`.
        y: logits or means, (T, B, m), or (B, m) for one output a sequence.
        target: `binary`: as y, each in 0..1; `real`: as y; `symbol`: integers (T, B) or (B,), each
            in 0..m-1.

    Returns:
        (T, B), or (B,): a loss a step.

    Raises:
        ValueError: for another kind, shapes or dtypes that do not belong together, or a target out
            of its range.
    """
    check_loss_arguments(kind, y, target)
    check_range(kind, target, y.shape[-1])
    if kind == "binary":
        return functional.binary_cross_entropy_with_logits(
            y, target.to(y.dtype), reduction="none"
        ).sum(-1)
    if kind == "real":
        return (y - target.to(y.dtype)).square().sum(-1)
    index = target.long().unsqueeze(-1)
    return -functional.log_softmax(y, dim=-1).gather(-1, index).squeeze(-1)


def weighted_losses(
    kind: str,
    y: Tensor,
    target: Tensor,
    lengths: Tensor | None = None,
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute the weighted loss of every step, and its weight; both 0 where none is scored.

    A step past a row's length is not scored, nor one whose symbol is below 0, nor one of weight 0.
    Whatever y and target hold there, NaN included, reaches neither a loss nor a gradient.

    Args:
        kind: `binary`, `symbol` or `real`, as in `step_losses`.
        y: (T, B, m), or (B, m) for one output a sequence.
        target: as `step_losses` takes it, symbols below 0 apart.
        lengths: (B,) integers in 0..T, the length of each row; None when no row is padded. An
            output at the end has no padding, whatever the lengths.
        weight: (T, B), or (B,) for one output a sequence, from 0 up and finite; None: 1 each.

    Returns:
        Two of (T, B), or (B,); the weights in float32 or wider.

    Raises:
        ValueError: as `step_losses`, and for lengths or weights of another shape, dtype or range.
    """
    check_loss_arguments(kind, y, target)
    scored = _scored_steps(kind, y, target, lengths)
    weights: Tensor | None = None
    if weight is not None:
        weights = normalize_weight(weight, y, scored)
        scored = weights > 0
    if scored is None:
        losses = step_losses(kind, y, target)
        return losses, _unit_weights(losses)
    # Mask before the loss, not after it: the gradient of a masked NaN would be 0 * NaN.
    y = torch.where(scored.unsqueeze(-1), y, 0)
    target = torch.where(scored if kind == "symbol" else scored.unsqueeze(-1), target, 0)
    losses = torch.where(scored, step_losses(kind, y, target), 0)
    if weights is None:
        return losses, scored * _unit_weights(losses)
    return losses * weights.to(losses.dtype), weights


def mean_loss(
    kind: str,
    y: Tensor,
    target: Tensor,
    lengths: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Compute Σ w · loss / Σ w over a batch, 0 if no step is scored; see `weighted_losses`."""
    return reduce_losses([weighted_losses(kind, y, target, lengths, weight)], "mean")


def reduce_losses(parts: Sequence[tuple[Tensor, Tensor]], reduction: str) -> Tensor:
    """Reduce the losses of several outputs, each as from `weighted_losses`, to their sum.

    `mean` adds the means, Σ w · loss / Σ w of each, `sum` the sums, and `none` step by step.
    """
    if reduction == "mean":
        return torch.stack([_weighted_mean(losses, weights) for losses, weights in parts]).sum()
    reduced = torch.stack([losses if reduction == "none" else losses.sum() for losses, _ in parts])
    return reduced.sum(0)


def _weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    total = weights.sum()
    mean: Tensor = losses.sum(dtype=total.dtype) / torch.where(total > 0, total, 1)
    return mean.to(losses.dtype)


def _scored_steps(kind: str, y: Tensor, target: Tensor, lengths: Tensor | None) -> Tensor | None:
    """Return the mask, (T, B) or (B,), of steps with a target within the lengths; None for all."""
    scored: Tensor | None = None
    if lengths is not None and y.dim() == 3:
        check_row_lengths(y, lengths)
        steps = torch.arange(y.shape[0], device=y.device).unsqueeze(1)
        scored = steps < lengths.to(y.device).unsqueeze(0)
    symbols = concrete_values(target) if kind == "symbol" else None
    if kind == "symbol" and (symbols is None or bool((symbols < 0).any())):
        is_symbol = target >= 0
        scored = is_symbol if scored is None else scored & is_symbol
    return scored


def _unit_weights(losses: Tensor) -> Tensor:
    return torch.ones_like(losses, dtype=torch.promote_types(losses.dtype, torch.float32))
