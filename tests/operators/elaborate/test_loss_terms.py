"""`loss EXPR weight w`: its share in the loss, and the values that it may read."""

from __future__ import annotations

import copy

import pytest
import torch

import rnnc
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from support.comparison.available_backends import AVAILABLE_BACKENDS

BINARY = """
input x: binary[4]
state h: real[3]
h' = tanh(W h + U x + b)
x' = ▷ h'
"""
SYMBOL = BINARY.replace("binary[4]", "symbol[5]")


def codes(text: str) -> list[str]:
    return [d.code for d in analyze(Source(text, "spec")).diagnostics]


def pair(text: str, extra: str) -> tuple[CompiledRNN, CompiledRNN]:
    """Return the model without and with some more lines, with equal weights."""
    torch.manual_seed(0)
    plain = rnnc.compile(text).double()
    extended = rnnc.compile(text + extra).double()
    extended.load_state_dict(plain.state_dict(), strict=False)
    return plain, extended


def data(text: str, steps: int = 6, rows: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    if "symbol" in text:
        line = torch.randint(0, 5, (steps + 1, rows))
    else:
        line = (torch.rand(steps + 1, rows, 4) < 0.5).double()
    return line[:-1], line[1:]


def added(plain, extended, x, target, **arguments):
    """Return the share of the terms in the loss of training."""
    y, _ = extended(x, **arguments)
    lengths = {"lengths": arguments["lengths"]} if "lengths" in arguments else {}
    with_terms = extended.loss(y, target, **lengths)
    return with_terms - plain.loss(plain(x, **arguments)[0], target, **lengths)


def test_a_term_is_a_weighted_mean_over_steps():
    plain, extended = pair(BINARY, "loss dot(h', h') weight 0.5\nloss sum(h - h')\n")
    x, target = data(BINARY)
    long = torch.tensor([6, 0, 3, 1])
    long[1] = 2
    hidden = []
    state = None
    for t in range(6):
        _, state = plain(x[t : t + 1], state)
        hidden.append(state.h)
    h = torch.stack(hidden)
    before = torch.cat([torch.zeros_like(h[:1]), h[:-1]])
    alive = (torch.arange(6)[:, None] < long).double()
    for arguments, mask in (({}, torch.ones(6, 4).double()), ({"lengths": long}, alive)):
        each = 0.5 * h.square().sum(-1) + (before - h).sum(-1)
        expected = (each * mask).sum() / mask.sum()
        share = added(plain, extended, x, target, **arguments)
        torch.testing.assert_close(share, expected)


def test_the_target_may_be_read():
    plain, extended = pair(BINARY, "z = σ(▷ h')\nloss dot(z - x', z - x') weight 2\n")
    x, target = data(BINARY)
    y, _ = plain(x)
    expected = 2 * (y.sigmoid() - target).square().sum(-1).mean()
    torch.testing.assert_close(added(plain, extended, x, target), expected)


def test_a_symbol_is_looked_up_and_windows_are_searched():
    plain, extended = pair(
        SYMBOL, "param E: real[3, 5]\nX = x[t-2..t]\nloss dot(E x', h')\nloss sum(X x') weight 3\n"
    )
    x, target = data(SYMBOL)
    h, state = [], None
    for t in range(6):
        _, state = plain(x[t : t + 1], state)
        h.append(state.h)
    looked_up = extended.E.t()[target]
    first = (looked_up * torch.stack(h)).sum(-1).mean()
    shares = [
        [sum(x[i, row] == target[t, row] for i in range(max(0, t - 2), t + 1)) for row in range(4)]
        for t in range(6)
    ]
    expected = first + 3 * torch.tensor(shares).double().mean()
    torch.testing.assert_close(added(plain, extended, x, target), expected)


def test_a_window_over_a_state_is_searched_with_the_target():
    text = BINARY.replace("h: real[3]", "h: real[4]").replace("W h", "h").replace("U x", "x")
    plain, extended = pair(text, "M = h[t-1..t]\nloss sum(M x')\n")
    x, target = data(BINARY)
    h, state = [], None
    for t in range(6):
        _, state = plain(x[t : t + 1], state)
        h.append(state.h)
    line = torch.stack(h)
    both = line + torch.cat([torch.zeros_like(line[:1]), line[:-1]])
    torch.testing.assert_close(added(plain, extended, x, target), (both * target).sum(-1).mean())


def test_a_segment_in_two_parts_with_resets_is_searched_as_a_whole():
    _, extended = pair(SYMBOL, "X = x[t-2..t]\nloss sum(X x')\n")
    x, target = data(SYMBOL)
    resets = torch.zeros(6, 4, dtype=torch.bool)
    resets[4, 1] = True
    y, _ = extended(x, resets=resets)
    whole = extended.loss(y, target)
    total, state = 0, None
    for part in (slice(0, 3), slice(3, 6)):
        y, state = extended(x[part], state, resets=resets[part])
        total = total + extended.loss(y, target[part]) / 2
    torch.testing.assert_close(total, whole)


def test_gradients_reach_every_weight_through_a_term():
    model = rnnc.compile(BINARY + "loss sum(P (▷ h' - x')) weight 1e3\nparam P: real[2, 4]\n")
    x, target = (z.float() for z in data(BINARY))
    y, _ = model(x)
    model.loss(y, target).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_terms_are_off_in_evaluation_and_need_a_call():
    plain, extended = pair(BINARY, "loss sum(x') weight 5\n")
    x, target = data(BINARY)
    extended.eval()
    y, _ = extended(x)
    torch.testing.assert_close(extended.loss(y, target), plain.loss(y, target))
    extended.train()
    with pytest.raises(ValueError, match="a call in training first"):
        extended.loss(y, target)
    y, _ = extended(x)
    with pytest.raises(ValueError, match=r"target of x'"):
        extended.loss(y[:3], target[:3])
    assert copy.deepcopy(extended).training


def test_batch_first():
    torch.manual_seed(0)
    text = BINARY + "loss dot(▷ h', x')\n"
    model = rnnc.compile(text, batch_first=True)
    other = rnnc.compile(text)
    other.load_state_dict(model.state_dict())
    x, target = (z.float() for z in data(BINARY))
    a = model.loss(model(x.transpose(0, 1))[0], target.transpose(0, 1))
    torch.testing.assert_close(a, other.loss(other(x)[0], target))


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("loss h'", "RNN301"),
        ("loss x'", "RNN301"),
        ("z = x'", "RNN403"),
        ("loss sum(x[t+2])", "RNN403"),
        ("loss sum(q)", "RNN201"),
        ("loss sum(h') weight h", "RNN213"),
        ("loss sum(h')\nloss sum(g')", "RNN201"),
    ],
)
def test_mistakes(line, code):
    assert code in codes(BINARY + line)


def test_a_next_value_that_is_not_predicted_is_known_to_a_loss_alone():
    text = "input x: real[2]\noutput y: real[2]\ny = W x\n"
    assert codes(text + "loss sum(x')") == codes(text + "loss sum(x[t+1])") == []
    assert codes(text + "z = x'\nloss sum(z)") == ["RNN403"]
    text = "input x: symbol[4]\nstate h: real[3]\nh' = x ⊕ h\nx' = ▷ h'\nloss sum(x')"
    assert codes(text) == ["RNN306"]


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
def test_a_line_in_a_loop_is_several_terms(backend):
    """Each moves what it is about, though all of them are one line of text."""
    rounds = "for l in 1..3:\n    loss sum(w_l ⊙ h') weight l\n"
    vectors = "param w_1, w_2, w_3: vector, real[3], constant(1)\n"
    torch.manual_seed(0)
    model = rnnc.compile(BINARY + vectors + rounds, backend=backend).double()
    x, target = data(BINARY)
    y, _ = model(x)
    model.loss(y, target).backward()
    gradients = [model.get_parameter(f"w_{k}").grad for k in (1, 2, 3)]
    assert gradients[0].abs().max() > 0.01
    torch.testing.assert_close(gradients[1], 2 * gradients[0])
    torch.testing.assert_close(gradients[2], 3 * gradients[0])


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
@pytest.mark.parametrize(
    "chance", ["dropout(0.5, {})", "variational(0.5, {})", "zoneout(0.5, {}, x)"]
)
def test_chance_in_a_term_is_drawn_in_training(chance, backend):
    """Entries are kept or replaced, none is a mean; in evaluation a term takes the mean of them."""
    text = (
        "input x: real[4]\nstate h: real[4]\noutput y: real[4] unscored\nh' = tanh(W h)\ny = h'\n"
    )
    term = chance.format("x'")
    torch.manual_seed(0)
    model = rnnc.compile(f"{text}loss sum({term})\n", backend=backend).double()
    ones = torch.ones(5, 3, 4, dtype=torch.float64)
    values = set()
    for _ in range(4):
        y, _ = model(0 * ones)
        values.add(model.loss(y, {"x": ones}).item() * 15)
    scale = 1 if "zoneout" in chance else 2
    assert len(values) > 1
    assert all(abs(value / scale - round(value / scale)) < 1e-9 for value in values)
    model.eval()
    y, _ = model(0 * ones)
    mean = 0.5 if "zoneout" in chance else 1.0
    assert model.loss(y, {"x": ones}).item() == pytest.approx(4 * mean)


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
@pytest.mark.parametrize("line", ["loss 0.1", "X = x[t-2..t]\nloss 0.1 + 0 * sum(X x')"])
def test_a_term_has_the_precision_of_its_model(line, backend):
    """Where all that it reads is symbols, or nothing, no tensor of its own says which."""
    text = SYMBOL.replace("x' =", "output y: real[5] unscored\ny =")
    model = rnnc.compile(text + line, backend=backend).double()
    x, target = data(SYMBOL)
    y, _ = model(x)
    loss = model.loss(y, {"x": target} if "x'" in line else {})
    assert loss.item() == pytest.approx(0.1, rel=1e-12)
