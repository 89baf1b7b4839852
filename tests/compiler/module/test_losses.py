"""Compare losses with textbook forms; check poisoned padding, and wrong arguments."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rnnc.compiler.module.loss_checks import LOSS_KINDS
from rnnc.compiler.module.losses import mean_loss, step_losses, weighted_losses

SIZES = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 6))


def drawn(kind: str, steps: int, rows: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randn(steps, rows, width, generator=generator, dtype=torch.float64) * 3
    if kind == "binary":
        return y, torch.randint(0, 2, y.shape, generator=generator)
    if kind == "symbol":
        return y, torch.randint(0, width, (steps, rows), generator=generator)
    return y, torch.randn(y.shape, generator=generator, dtype=torch.float64)


def by_hand(kind: str, y: list[float], target: list[float] | int) -> float:
    """The loss of one step from probabilities, as a textbook writes it."""
    if kind == "symbol":
        assert isinstance(target, int)
        return -math.log(math.exp(y[target]) / sum(math.exp(v) for v in y))
    assert isinstance(target, list)
    if kind == "real":
        return sum((v - w) ** 2 for v, w in zip(y, target, strict=True))
    total = 0.0
    for logit, bit in zip(y, target, strict=True):
        p = 1 / (1 + math.exp(-logit))
        total -= math.log(p if bit else 1 - p)
    return total


@given(kind=st.sampled_from(LOSS_KINDS), sizes=SIZES, seed=st.integers(0, 2**31))
def test_a_step_costs_what_its_distribution_says(kind, sizes, seed):
    y, target = drawn(kind, *sizes, seed)
    losses = step_losses(kind, y, target)
    assert losses.shape == y.shape[:2]
    for t in range(sizes[0]):
        for b in range(sizes[1]):
            expected = by_hand(kind, y[t, b].tolist(), target[t, b].tolist())
            assert losses[t, b].item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(kind=st.sampled_from(LOSS_KINDS), sizes=SIZES, seed=st.integers(0, 2**31), data=st.data())
def test_padding_changes_nothing_even_when_it_holds_nan(kind, sizes, seed, data):
    steps, rows, _ = sizes
    lengths = torch.tensor([data.draw(st.integers(1, steps)) for _ in range(rows)])
    y, target = drawn(kind, *sizes, seed)
    pieces = [
        step_losses(kind, y[:n, b : b + 1], target[:n, b : b + 1]).sum()
        for b, n in enumerate(lengths.tolist())
    ]
    for b, n in enumerate(lengths.tolist()):
        y[n:, b] = torch.nan
        target[n:, b] = torch.nan if kind == "real" else 10**6
    y.requires_grad_()
    mean = mean_loss(kind, y, target, lengths)
    (gradient,) = torch.autograd.grad(mean, y)
    assert mean.item() == pytest.approx(float(sum(pieces)) / int(lengths.sum()), rel=1e-9)
    assert torch.isfinite(gradient).all()
    assert all((gradient[n:, b] == 0).all() for b, n in enumerate(lengths.tolist()))


def test_padding_would_be_seen_without_lengths():
    y, target = drawn("real", 3, 2, 4, seed=1)
    y[2:, 1] = torch.nan
    assert mean_loss("real", y, target).isnan()
    assert not mean_loss("real", y, target, torch.tensor([3, 2])).isnan()


def test_the_mean_is_over_steps_and_not_over_rows():
    y = torch.tensor([[[2.0], [1.0]], [[2.0], [9.0]], [[2.0], [9.0]]])
    losses, weights = weighted_losses("real", y, torch.zeros_like(y), torch.tensor([3, 1]))
    assert losses.tolist() == [[4, 1], [4, 0], [4, 0]]
    assert weights.tolist() == [[1, 1], [1, 0], [1, 0]]
    assert mean_loss("real", y, torch.zeros_like(y), torch.tensor([3, 1])).item() == 13 / 4


@pytest.mark.parametrize("kind", LOSS_KINDS)
def test_an_output_at_the_end_has_one_loss_a_row(kind):
    y, target = drawn(kind, 1, 5, 3, seed=2)
    assert step_losses(kind, y[0], target[0]).shape == (5,)
    complete = mean_loss(kind, y[0], target[0])
    assert torch.equal(complete, mean_loss(kind, y[0], target[0], torch.arange(1, 6)))
    assert torch.equal(complete, mean_loss(kind, y, target))


@pytest.mark.parametrize("kind", ["binary", "symbol"])
def test_extreme_logits_stay_finite(kind):
    y = torch.tensor([[[1000.0, -1000.0]]], requires_grad=True)
    target = torch.tensor([[1]]) if kind == "symbol" else torch.tensor([[[0, 1]]])
    loss = mean_loss(kind, y, target)
    (gradient,) = torch.autograd.grad(loss, y)
    assert loss.item() == 2000
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("kind", LOSS_KINDS)
def test_gradients_agree_with_differences(kind):
    y, target = drawn(kind, 3, 2, 4, seed=3)
    lengths = torch.tensor([3, 2])
    assert torch.autograd.gradcheck(
        lambda v: mean_loss(kind, v, target, lengths), (y.requires_grad_(),)
    )


Y = torch.zeros(3, 2, 4)


@pytest.mark.parametrize(
    ("kind", "y", "target", "lengths", "words"),
    [
        ("gauss", Y, Y, None, "expected a kind among binary, symbol, real, got 'gauss'"),
        ("real", Y[..., 0, 0], Y, None, r"expected y .* got float32 \(3,\)"),
        ("real", Y.long(), Y, None, r"expected y of floating-point numbers, .* got int64"),
        ("binary", Y, Y[:2], None, r"shape \(3, 2, 4\), got \(2, 2, 4\)"),
        ("symbol", Y, Y, None, r"symbol target of shape \(3, 2\), got \(3, 2, 4\)"),
        ("symbol", Y, Y[..., 0], None, "symbol target of integers, got float32"),
        ("symbol", Y, Y[..., 0].bool(), None, "symbol target of integers, got bool"),
        ("binary", Y, Y + 1.5, None, r"binary target in 0\.\.1, got 1\.5\.\.1\.5"),
        ("binary", Y, Y - 1, None, r"binary target in 0\.\.1, got -1\.\.-1"),
        ("binary", Y, Y.long() + 2, None, r"binary target in 0\.\.1, got 2\.\.2"),
        ("binary", Y, Y * torch.nan, None, r"binary target in 0\.\.1, got nan"),
        ("symbol", Y, Y[..., 0].long() + 4, None, r"symbols in 0\.\.3, got 4\.\.4"),
        ("real", Y, Y.cfloat(), None, "of real numbers, got complex64"),
        ("real", Y, Y, torch.tensor([3, 3, 3]), r"lengths \(2,\) of integers, got int64 \(3,\)"),
        ("real", Y, Y, torch.tensor([3.0, 3.0]), "lengths .* of integers, got float32"),
        ("real", Y, Y, torch.tensor([4, 3]), "lengths: expected values from 0 to 3, got 4"),
        ("real", Y, Y, torch.tensor([-1, 3]), "lengths: expected values from 0 to 3, got -1"),
        ("real", Y, None, None, "target to be a tensor, got NoneType"),
        ("real", None, Y, None, "y to be a tensor, got NoneType"),
    ],
)
def test_arguments_that_do_not_fit_say_what_was_expected(kind, y, target, lengths, words):
    with pytest.raises(ValueError, match=words):
        mean_loss(kind, y, target, lengths)


@given(
    kind=st.sampled_from(LOSS_KINDS), sizes=SIZES, seed=st.integers(0, 2**31), ragged=st.booleans()
)
def test_weights_make_a_weighted_mean(kind, sizes, seed, ragged):
    steps, rows, _ = sizes
    y, target = drawn(kind, *sizes, seed)
    generator = torch.Generator().manual_seed(seed)
    weight = torch.rand(steps, rows, generator=generator, dtype=torch.float64)
    lengths = torch.randint(0, steps + 1, (rows,), generator=generator) if ragged else None
    total, weight_sum = 0.0, 0.0
    for t in range(steps):
        for b in range(rows):
            if lengths is None or t < lengths[b]:
                total += weight[t, b].item() * by_hand(
                    kind, y[t, b].tolist(), target[t, b].tolist()
                )
                weight_sum += weight[t, b].item()
    actual = mean_loss(kind, y, target, lengths, weight)
    assert actual.item() == pytest.approx(total / weight_sum if weight_sum else 0.0, rel=1e-9)


@given(kind=st.sampled_from(LOSS_KINDS), sizes=SIZES, seed=st.integers(0, 2**31))
def test_a_weight_of_0_is_as_leaving_out(kind, sizes, seed):
    """Also where the target, or y, is what no step may have."""
    y, target = drawn(kind, *sizes, seed)
    is_scored = torch.rand(sizes[:2], generator=torch.Generator().manual_seed(seed)) < 0.6
    total = step_losses(kind, y, target)[is_scored].sum()
    y[~is_scored], target[~is_scored] = torch.nan, torch.nan if kind == "real" else 10**6
    y.requires_grad_()
    actual = mean_loss(kind, y, target, weight=is_scored)
    (gradient,) = torch.autograd.grad(actual, y)
    assert actual.item() == pytest.approx((total / max(1, int(is_scored.sum()))).item(), rel=1e-9)
    assert gradient.isfinite().all()
    assert not gradient[~is_scored].any()


def test_a_symbol_below_0_is_left_out_of_the_mean_too():
    y, target = drawn("symbol", 4, 3, 5, seed=4)
    target[1, 2], target[3, 0], target[0, 1] = -1, -100, -1
    is_symbol = target >= 0
    losses, weights = weighted_losses("symbol", y, target)
    assert torch.equal(weights, is_symbol.double())
    assert torch.equal(losses[is_symbol], step_losses("symbol", y[is_symbol], target[is_symbol]))
    assert not losses[~is_symbol].any()
    assert mean_loss("symbol", y, target).item() == pytest.approx(losses.sum().item() / 9)
    assert mean_loss("symbol", y, target * 0 - 1).item() == 0


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (
            torch.ones(2, 3),
            r"weight: expected real numbers of shape \(3, 2\), got float32 \(2, 3\)",
        ),
        (torch.ones(3, 2, 1), r"shape \(3, 2\), got float32 \(3, 2, 1\)"),
        (torch.ones(3, 2).cfloat(), "real numbers .* got complex64"),
        ([[1.0, 1.0]] * 3, "got list"),
        (-torch.ones(3, 2), r"finite numbers from 0 up, got -1\.\.-1"),
        (torch.ones(3, 2) / 0, r"finite numbers from 0 up, got inf\.\.inf"),
        (torch.ones(3, 2) * torch.nan, "finite numbers from 0 up, got nan"),
        (torch.ones(3, 2, device="meta"), "on cpu, got one on meta"),
    ],
)
def test_weights_that_do_not_fit_say_what_was_expected(weight, words):
    with pytest.raises(ValueError, match=words):
        mean_loss("real", Y, Y, weight=weight)


def test_half_precision_counts_steps_exactly():
    y = torch.ones(700, 100, 1, dtype=torch.bfloat16)
    assert mean_loss("real", y, torch.zeros_like(y)).item() == 1
    ones = torch.ones(700, 100)
    assert mean_loss("real", y.half(), torch.zeros_like(y), weight=ones).isfinite()
