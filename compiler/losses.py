"""Loss of one step under the distribution that a target's type names."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

KINDS: Final = ("binary", "symbol", "real")


def step_losses(kind: str, y: Tensor, target: Tensor) -> Tensor:
    """Loss of every step, from a distribution's natural parameters.

    * `binary`: independent Bernoulli of logits y; with s = softplus, s(y) - target * y summed over
      the components, in nats.
    * `symbol`: categorical of logits y, log(sum(exp(y))) - y[target], in nats.
    * `real`: squared error, (y - target)**2 summed over the components.

    Args:
        kind: `binary`, `symbol` or `real`.
        y: logits or means, (T, B, m), or (B, m) for one output a sequence.
        target: `binary` and `real`: as y; `symbol`: integers (T, B) or (B,), each in 0..m-1.

    Returns:
        (T, B), or (B,): a loss a step.

    Raises:
        ValueError: for another kind, shapes or dtypes that do not belong together, or a symbol
            outside 0..m-1.
    """
    _check(kind, y, target)
    if kind == "binary":
        return functional.binary_cross_entropy_with_logits(
            y, target.to(y.dtype), reduction="none"
        ).sum(-1)
    if kind == "real":
        return (y - target.to(y.dtype)).square().sum(-1)
    _check_symbols(target, y.shape[-1])
    index = target.long().unsqueeze(-1)
    return -functional.log_softmax(y, dim=-1).gather(-1, index).squeeze(-1)


def mean_loss(kind: str, y: Tensor, target: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Mean loss of a step over all steps of a batch, padding left out.

    Args:
        kind: `binary`, `symbol` or `real`, as in `step_losses`.
        y: (T, B, m), or (B, m) for one output a sequence.
        target: as `step_losses` takes it.
        lengths: (B,) integers in 0..T, the length of each row; None when no row is padded. An
            output at the end has no padding, whatever the lengths.

    Returns:
        A scalar, 0 where there is no step. Whatever padding holds, NaN included, reaches neither
        it nor a gradient.

    Raises:
        ValueError: as `step_losses`, and for lengths of another shape, dtype or range.
    """
    total, steps = summed_loss(kind, y, target, lengths)
    return total / max(steps, 1)


def summed_loss(
    kind: str, y: Tensor, target: Tensor, lengths: Tensor | None = None
) -> tuple[Tensor, int]:
    """Sum of the losses of all steps of a batch, and how many steps there are; see `mean_loss`."""
    _check(kind, y, target)
    if lengths is None or y.dim() == 2:
        losses = step_losses(kind, y, target)
        return losses.sum(), losses.numel()
    _check_lengths(y, lengths)
    steps = torch.arange(y.shape[0], device=y.device).unsqueeze(1)
    inside = steps < lengths.to(y.device).unsqueeze(0)
    # Masked before the loss, not after it: the gradient of a masked NaN would be 0 * NaN.
    clean_y = torch.where(inside.unsqueeze(-1), y, 0)
    clean_target = torch.where(inside if kind == "symbol" else inside.unsqueeze(-1), target, 0)
    losses = torch.where(inside, step_losses(kind, clean_y, clean_target), 0)
    return losses.sum(), int(lengths.sum())


def _check(kind: str, y: Tensor, target: Tensor) -> None:
    if kind not in KINDS:
        raise ValueError(f"expected a kind among {', '.join(KINDS)}, got {kind!r}")
    for name, value in (("y", y), ("target", target)):
        if not isinstance(value, Tensor):
            raise ValueError(f"expected {name} to be a tensor, got {type(value).__name__}")
    if y.dim() not in (2, 3) or not y.is_floating_point():
        raise ValueError(
            f"expected y of floating-point numbers, (T, B, m) or (B, m), got {_say(y)}"
        )
    shape = y.shape[:-1] if kind == "symbol" else y.shape
    if target.shape != shape:
        raise ValueError(
            f"expected a {kind} target of shape {tuple(shape)}, got {tuple(target.shape)}"
        )
    if kind == "symbol" and (target.is_floating_point() or target.dtype == torch.bool):
        raise ValueError(f"expected a symbol target of integers, got {_say(target)}")
    if target.is_complex():
        raise ValueError(f"expected a {kind} target of real numbers, got {_say(target)}")


def _check_lengths(y: Tensor, lengths: Tensor) -> None:
    if lengths.shape != y.shape[1:2] or lengths.is_floating_point() or lengths.is_complex():
        raise ValueError(f"expected lengths ({y.shape[1]},) of integers, got {_say(lengths)}")
    if lengths.numel() and not 0 <= int(lengths.min()) <= int(lengths.max()) <= y.shape[0]:
        raise ValueError(
            f"expected lengths in 0..{y.shape[0]}, got {int(lengths.min())}..{int(lengths.max())}"
        )


def _check_symbols(target: Tensor, size: int) -> None:
    if target.numel() and not 0 <= int(target.min()) <= int(target.max()) < size:
        raise ValueError(
            f"expected symbols in 0..{size - 1}, got {int(target.min())}..{int(target.max())}"
        )


def _say(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
