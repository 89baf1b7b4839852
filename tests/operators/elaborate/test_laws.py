"""Laws: soft constraints between operators, checked at the points that training visits."""

from __future__ import annotations

import pytest
import torch

import rnnc
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze

MODEL = """
input x: binary[4]
state h: real[3]
operator x ⊕ h = tanh(W h + U x + b)
h' = x ⊕ h
x' = ▷ h'
"""
COMMUTES = "law x ⊕ (x[t-1] ⊕ h) ≈ x[t-1] ⊕ (x ⊕ h) weight 0.1"


def codes(text: str) -> list[str]:
    return [d.code for d in analyze(Source(text, "spec")).diagnostics]


def with_law(law: str, **arguments: object) -> CompiledRNN:
    torch.manual_seed(0)
    return rnnc.compile(MODEL + law + "\n", **arguments).double()


def data() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    line = (torch.rand(7, 3, 4) < 0.5).double()
    return line[:-1], line[1:]


def by_hand(model: CompiledRNN, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """The mean squared difference of both orders, on states taken as constants."""
    w = {name.removeprefix("plus."): value for name, value in model.named_parameters()}

    def plus(x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        return torch.tanh(h @ w["W"].t() + x @ w["U"].t() + w["b"])

    h = torch.zeros(3, 3).double()
    total = torch.zeros(()).double()
    for t in range(len(x)):
        before = x[t - 1] if t else torch.zeros_like(x[0])
        difference = plus(x[t], plus(before, h)) - plus(before, plus(x[t], h))
        total = total + difference.square().mean(-1)[t < lengths].sum()
        h = plus(x[t], h).detach()
    return total / lengths.sum()


@pytest.mark.parametrize("lengths", [[6, 6, 6], [6, 1, 4]])
def test_a_law_is_its_definition_in_value_and_gradient(lengths):
    model = with_law(COMMUTES)
    x, target = data()
    long = torch.tensor(lengths)
    padded = x.clone()
    for row, end in enumerate(lengths):
        padded[end:, row] = torch.nan
    y, _ = model(padded, lengths=long)
    (value,) = model.laws().values()
    expected = by_hand(model, x, long)
    torch.testing.assert_close(value, expected)
    weights = [model.get_parameter(f"plus.{name}") for name in "WUb"]
    gradients = torch.autograd.grad(value, weights, retain_graph=True)
    for a, b in zip(gradients, torch.autograd.grad(expected, weights), strict=True):
        torch.testing.assert_close(a, b)
    loss = model.loss(y, torch.where(padded.isnan(), 0, target), lengths=long)
    model.eval()
    plain = model.loss(y, torch.where(padded.isnan(), 0, target), lengths=long)
    torch.testing.assert_close(loss, plain + 0.1 * expected)


def test_a_gradient_through_the_trajectory_would_be_seen():
    model = with_law(COMMUTES)
    x, _ = data()
    model(x)
    (value,) = model.laws().values()
    (gradient,) = torch.autograd.grad(value, [model.get_parameter("plus.W")])
    w = {name.removeprefix("plus."): value for name, value in model.named_parameters()}
    h, total = torch.zeros(3, 3).double(), 0
    for t in range(len(x)):
        before = x[t - 1] if t else torch.zeros_like(x[0])

        def plus(x, h):
            return torch.tanh(h @ w["W"].t() + x @ w["U"].t() + w["b"])

        difference = plus(x[t], plus(before, h)) - plus(before, plus(x[t], h))
        total = total + difference.square().mean()
        h = plus(x[t], h)  # not detached
    (wrong_gradient,) = torch.autograd.grad(total / len(x), [w["W"]])
    assert (wrong_gradient - gradient).abs().max() > 1e-4


def test_laws_are_off_in_evaluation():
    model = with_law(COMMUTES)
    x, _ = data()
    model(x)
    assert list(model.laws()) == [COMMUTES]
    model.eval()
    model(x)
    assert model.laws() == {}


def test_chance_is_off_inside_and_locals_count_as_constants():
    torch.manual_seed(0)
    text = """
    input x: real[3]
    state h: real[3]
    operator x ⊕ h = dropout(0.5, tanh(W h + U x + b))
    h' = x ⊕ h
    z = V h'
    output y: real[3]
    y = z
    law x ⊕ z ≈ x ⊕ dropout(0.5, z)
    law z ≈ dropout(0.5, z)
    law sum(z) ≈ 1
    """
    model = rnnc.compile(text)
    model(torch.randn(5, 2, 3))
    chance, same, constant = model.laws().values()
    assert chance == 0
    assert same == 0
    assert constant > 0
    if constant.requires_grad:
        constant.backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize(
    "line", ["{} = zoneout(0.5, x, z)", "{} = zoneout(0, x, z)", "law zoneout(0.5, x, z) ≈ x"]
)
def test_without_chance_a_function_wants_the_widths_that_it_wants_with_it(line):
    text = "input x: real[2]\ninput z: real[3]\noutput y: real[2]\n"
    text += line.format("y") + ("\ny = x\n" if "law" in line else "\n")
    assert [d.code for d in analyze(Source(text, "spec")).diagnostics] == ["RNN301"]
    assert analyze(Source(text.replace("real[3]", "real[2]"), "spec")).diagnostics == ()


def test_the_laws_of_a_loop_are_told_apart():
    text = """
    model many(layers = 3):
        input x: real[2]
        output y: real[2]
        z_0 = x
        for l in 1..layers:
            z_l = △_l z_{l-1}
            operator △_l z = W z
            law △_l △_l x ≈ x weight 0.5
        y = z_{layers}
    """
    model = rnnc.compile(text)
    model(torch.randn(5, 2, 2))
    law = "law △_l △_l x ≈ x weight 0.5"
    assert list(model.laws()) == [law, f"{law} #2", f"{law} #3"]


def test_training_a_law_makes_it_hold():
    torch.manual_seed(0)
    model = rnnc.compile(MODEL + COMMUTES.replace("0.1", "10") + "\n")
    x, target = (z.float() for z in data())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        y, _ = model(x)
        model.loss(y, target).backward()
        optimizer.step()
        values.append(next(iter(model.laws().values())).item())
    assert values[-1] < 0.2 * values[0]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("law x ⊕ h ≈ x", "RNN301"),
        ("law ▷ h' ≈ x weight -1", "RNN309"),
        ("law ▷ h' ≈ q", "RNN201"),
        ("law x' ≈ x", "RNN403"),
        ("law h' ≈ h weight h", "RNN213"),
    ],
)
def test_mistakes(line, code):
    assert code in codes(MODEL + line + "\n")


def moved_by(model: CompiledRNN, x: torch.Tensor) -> set[str]:
    """The parameters that a model's laws shape."""
    model.train()
    model(x)
    total = sum(model.laws().values())
    named = dict(model.named_parameters())
    gradients = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    return {n for n, g in zip(named, gradients, strict=True) if g is not None and g.abs().max() > 0}


def test_what_a_law_meets_is_constant_in_tuples_too():
    text = """
    input x: real[2]
    state h: real[3]
    z = tanh(V h')
    p = (z, (h, z))
    operator f((a, (c, d))) = A a + c + d
    h' = tanh(W h + U x)
    output y: real[3]
    y = z
    law f(p) ≈ z
    """
    torch.manual_seed(0)
    model = rnnc.compile(text, backend="reference").double()
    assert moved_by(model, torch.randn(5, 2, 2).double()) == {"f.A"}


def test_a_law_sees_what_is_missing_of_a_local():
    text = """
    input x: real[2]
    state h: real[3]
    M = h[t-2..t]
    a = M h'
    h' = tanh(W h + U x)
    output y: real[3]
    y = softmax(a)
    law softmax(a) ≈ 0 * h'
    """
    torch.manual_seed(0)
    model = rnnc.compile(text, backend="reference").double().train()
    y, _ = model(torch.randn(5, 2, 2).double())
    (value,) = model.laws().values()
    torch.testing.assert_close(value, y.square().mean())


def test_a_window_has_no_place_in_a_law_under_a_name_either():
    window = "M = h[t-2..t]\nN = (M, h)\noperator f((A, a)) = Aᵀ (A a)\n"
    for law in ("law Mᵀ (M h) ≈ h", "law f(N) ≈ h"):
        assert set(codes(MODEL + window + law)) == {"RNN113"}
