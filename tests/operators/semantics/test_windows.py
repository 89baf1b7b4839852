"""Windows of time: missing rows take no part, and nothing underflows."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnc
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze

ATTENTION = """
input x: real[3]
state h: real[4]
h' = tanh(W h + U x + b)
M = h[t-4..t]
output y: real[4]
y = Mᵀ softmax(M Q h')
"""
MIX = """
model mix(rows = 3):
    input x: symbol[6]
    state h: real[5]
    h' = tanh(W h + U x + b)
    X = x[t-rows+1..t]
    M = h[t-rows+1..t]
    (a, g) = split(softmax([M h' ; dot(h', h')]), rows, 1)
    x' = log(g * softmax(▷ h') + Xᵀ a)
"""


def codes(text: str) -> list[str]:
    return [d.code for d in analyze(Source(text, "spec")).diagnostics]


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max())
    return e / e.sum()


def weights(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().double().numpy() for name, value in model.named_parameters()}


def by_hand(model: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    """The mixture's probabilities for one sequence of symbols, from its definition."""
    w, rows = weights(model), 3
    h, seen, result = np.zeros(5), [], []
    for symbol in x:
        column = w["U"][:, symbol] if symbol >= 0 else 0
        h = np.tanh(w["W"] @ h + column + w["b"])
        seen.append((h, symbol))
        recent = seen[-rows:]
        a = softmax(np.array([past @ h for past, _ in recent] + [h @ h]))
        p = a[-1] * softmax(w["predict.V"] @ h + w["predict.b"])
        for (_, word), share in zip(recent, a[:-1], strict=True):
            if word >= 0:
                p[word] += share
        result.append(p)
    return np.stack(result)


def test_the_mixture_is_its_definition_from_the_first_step_on():
    torch.manual_seed(0)
    model = rnnc.compile(MIX).double().eval()
    x = torch.randint(0, 6, (8, 4))
    y, _ = model(x)
    for row in range(4):
        expected = by_hand(model, x[:, row].numpy())
        np.testing.assert_allclose(y[:, row].exp().detach(), expected, rtol=1e-12)
    torch.testing.assert_close(y.exp().sum(-1), torch.ones(8, 4, dtype=torch.float64))


def test_a_missing_row_that_counted_as_zero_would_be_seen():
    # The comparison above must tell missing rows from zero rows: it does where scores are compared.
    torch.manual_seed(0)
    model = rnnc.compile(MIX).double().eval()
    x = torch.randint(0, 6, (1, 1))
    expected = by_hand(model, x[:, 0].numpy())[0]
    h = np.tanh(weights(model)["U"][:, x.item()] + weights(model)["b"])
    wrong_weights = softmax(np.array([0, 0, h @ h, h @ h]))
    assert abs(wrong_weights[-1] - softmax(np.array([h @ h, h @ h]))[-1]) > 0.1
    np.testing.assert_allclose(model(x)[0][0, 0].exp().detach(), expected, rtol=1e-12)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 99),
    cut=st.integers(0, 9),
    lengths=st.lists(st.integers(0, 9), min_size=3, max_size=3),
    reset=st.lists(st.integers(0, 8), min_size=3, max_size=3),
)
def test_segments_bound_windows(seed, cut, lengths, reset):
    """A row alone, cut where it is reset, gives what it gives in a ragged batch in two parts."""
    torch.manual_seed(seed)
    for text in (ATTENTION, MIX):
        model = rnnc.compile(text).double().eval()
        symbols = model.graph.inputs[0].type.kind == "symbol"
        x = torch.randint(0, 6, (9, 3)) if symbols else torch.randn(9, 3, 3).double()
        resets = torch.zeros(9, 3, dtype=torch.bool)
        for row, step in enumerate(reset):
            resets[step, row] = True
        long = torch.tensor(lengths)
        first, state = model(x[:cut], resets=resets[:cut], lengths=long.clamp(max=cut))
        second, _ = model(x[cut:], state, resets=resets[cut:], lengths=(long - cut).clamp(min=0))
        y = torch.cat([first, second])
        for row in range(3):
            end, step = lengths[row], min(reset[row], lengths[row])
            parts = [model(x[a:b, [row]])[0] for a, b in ((0, step), (step, end))]
            torch.testing.assert_close(y[:end, [row]], torch.cat(parts), rtol=1e-11, atol=1e-11)
            assert not y[end:, row].any()


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_extreme_logits_stay_finite_in_float32(scale):
    text = """
    input x: symbol[6]
    input u: real[6]
    input s: real[4]
    X = x[t-2..t]
    (a, g) = split(softmax(s), 3, 1)
    output y: symbol[6]
    y = log(g * softmax(u) + Xᵀ a)
    """
    model = rnnc.compile(text)
    torch.manual_seed(0)
    x = torch.randint(0, 6, (7, 50))
    u, s = torch.randn(7, 50, 6), torch.randn(7, 50, 4)
    u, s = (scale * z / z.abs().amax(-1, keepdim=True) for z in (u, s))
    u.requires_grad_()
    s.requires_grad_()
    y, _ = model((x, u, s))
    assert y.isfinite().all()
    y.logsumexp(-1).sum().backward()
    assert u.grad.isfinite().all()
    assert s.grad.isfinite().all()
    # In float64, the plain formula, where nothing underflows at e^-400.
    p = torch.softmax(u.detach().double(), -1)
    a = torch.softmax(s.detach().double(), -1)
    mixture = a[..., 3:] * p
    for t in range(7):
        for i in range(max(0, 2 - t), 3):
            word = x[t - 2 + i].unsqueeze(-1)
            mixture[t].scatter_add_(-1, word, a[t, :, i : i + 1])
    torch.testing.assert_close(y.double(), mixture.log(), rtol=1e-5, atol=1e-4)


def test_gradients_of_windows():
    torch.manual_seed(0)
    for text in (ATTENTION, MIX):
        model = rnnc.compile(text).double()
        names = [name for name, _ in model.named_parameters()]
        symbols = model.graph.inputs[0].type.kind == "symbol"
        x = torch.randint(0, 6, (5, 2)) if symbols else torch.randn(5, 2, 3).double()

        def run(*values, model=model, names=names, x=x):
            named = dict(zip(names, values, strict=True))
            return torch.func.functional_call(model, named, (x,))[0]

        assert torch.autograd.gradcheck(
            run, [p.detach().requires_grad_() for p in model.parameters()]
        )


def test_nothing_as_large_as_a_window_for_each_step_is_kept():
    text = """
    input x: real[64]
    state h: real[64]
    h' = tanh(u ⊙ h + x)
    param u: vector
    M = h[t-49..t]
    output y: real[64]
    y = Mᵀ softmax(M h')
    """
    model = rnnc.compile(text)
    saved_sizes: dict[int, int] = {}

    def measure(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved_sizes[storage.data_ptr()] = storage.nbytes() // 4
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(measure, lambda t: t):
        y, _ = model(torch.randn(60, 2, 64))
    y.sum().backward()
    assert sum(saved_sizes.values()) < 60 * 2 * 50 * 64 / 3


def test_a_state_that_carries_its_age_can_be_copied_with_its_model():
    model = rnnc.compile(MIX)
    _, state = model(torch.randint(0, 6, (4, 2)))
    assert state.age.tolist() == [4, 4]
    _, state = model(torch.randint(0, 6, (3, 2)), state, resets=torch.eye(3, 2).bool())
    assert state.age.tolist() == [3, 2]
    copied = copy.deepcopy(model)
    assert copied.state_dict().keys() == model.state_dict().keys()


def test_arithmetic_leaves_gaps_out():
    text = """
    input x: real[2]
    M = x[t-2..t]
    z = exp(M x) * 2 + 1
    output y: real
    y = sum(z)
    output p: real[3]
    p = softmax(-z)
    output d: real
    d = dot(z, z)
    """
    x = torch.tensor([[[1.0, 0.0]]])
    y, p, d = rnnc.compile(text)(x)[0]
    z = 2 * np.e + 1
    np.testing.assert_allclose([y.item(), d.item()], [z, z * z], rtol=1e-6)
    assert p.flatten().tolist() == [0, 0, 1]


def test_a_window_without_any_row_gives_nothing():
    text = "input x: real[2]\nM = x[t-2..t-1]\noutput y: real[2]\ny = Mᵀ softmax(M x)"
    model = rnnc.compile(text)
    x = torch.randn(2, 1, 2, requires_grad=True)
    y, _ = model(x)
    assert y[0].tolist() == [[0, 0]]
    torch.testing.assert_close(y[1], x[0])
    y.sum().backward()
    assert x.grad.isfinite().all()


def test_a_window_over_the_future_of_a_backward_state():
    text = """
    input x: real[2]
    state g: real[2]
    g[t] = tanh(x + g[t+1])
    M = g[t..t+1]
    output y: real[2]
    y = Mᵀ softmax(M x)
    """
    x = torch.randn(3, 1, 2)
    y, _ = rnnc.compile(text)(x)
    g2 = torch.tanh(x[2])
    g1 = torch.tanh(x[1] + g2)
    a = torch.softmax(torch.stack([(g1 * x[1]).sum(), (g2 * x[1]).sum()]), 0)
    torch.testing.assert_close(y[2], g2)
    torch.testing.assert_close(y[1], a[0] * g1 + a[1] * g2)


HEAD = "input x: real[2]\nstate h: real[2]\nh' = x ⊕ h\noutput y: real[2]\n"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("y = h[t-4..t]", "RNN305"),
        ("y = h[t..t-4]", "RNN406"),
        ("y = h[t-2..5]", "RNN406"),
        ("M = h[t-2..t]\ny = M x + M [x ; x]", "RNN301"),
        ("M = h[t-2..t]\ny = Mᵀ x", "RNN301"),
        ("M = x[t..t+1]\ny = Mᵀ softmax(M x)", "RNN403"),
        ("M = h[t..t+1]\ny = Mᵀ softmax(M x)", "RNN403"),
        ("z = x\nM = z[t-1..t]\ny = Mᵀ softmax(M x)", "RNN407"),
        ("M = q[t-1..t]\ny = M x", "RNN201"),
        ("M = y[t-1..t]\ny = M x", "RNN203"),
        ("M = h[t-1..t]\ny = W M", "RNN305"),
        ("y = h\nlaw h[t-1..t] ~= x", "RNN113"),
        ("y = h\nM = h[t-1..t]\nM = x", "RNN205"),
    ],
)
def test_mistakes(line, code):
    assert code in codes(HEAD + line)


def test_the_past_of_a_state_that_runs_backward():
    text = (
        "input x: real[2]\nstate g: real[2]\ng[t] = tanh(x + g[t+1])\noutput y: real[2]\ny = g[t-1]"
    )
    x = torch.randn(3, 1, 2)
    y, _ = rnnc.compile(text, backend="reference")(x)
    g1 = torch.tanh(x[1] + torch.tanh(x[2]))
    torch.testing.assert_close(y, torch.stack([torch.zeros(1, 2), torch.tanh(x[0] + g1), g1]))


@pytest.mark.parametrize("term", ["w / (M x - 1)", "log(M x * w)", "sqrt(M x * w)", "w / M x"])
def test_what_is_missing_poisons_no_gradient(term):
    text = f"""
    input x: real[2]
    param w: vector, constant(2)
    M = x[t-2..t]
    output y: real
    y = sum(softmax({term}) * w) + sum({term})
    """
    model = rnnc.compile(text)
    x = (1 + torch.rand(2, 1, 2)).requires_grad_()
    y, _ = model(x)
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    assert model.w.grad.isfinite().all()


ROWS = "input x: real[2]\nparam w: vector, constant(2)\nM = x[t-2..t]\noutput y: real[3]\n"


def outputs(equations: str) -> torch.Tensor:
    x = 1 + torch.arange(8.0).double().view(4, 1, 2) / 8
    return rnnc.compile(ROWS + equations, backend="reference").double()(x)[0]


def test_an_annotation_says_a_width_and_nothing_else():
    plain, annotated = (
        outputs(f"z{type_} = M w + 1\ny = softmax(z)\n") for type_ in ("", ": real[3]")
    )
    torch.testing.assert_close(annotated, plain, rtol=0, atol=0)
    assert plain[0, 0].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "term",
    [
        "log({a})",
        "log(0.5 * {a})",
        "log(sum(x) * {a})",
        "log({a} / 3)",
        "log(p) + log(r)",
        "log(v)",
    ],
)
def test_the_logarithm_of_a_missing_entry_is_missing(term):
    """A missing entry takes no part in a sum, and no infinity stands for it."""
    a = "softmax(M w)"
    split = "(p, g) = split(softmax([M w ; 0.5]), 3, 1)\nr = softmax(M w)\nv = tanh(0.5) * p\n"
    text = ROWS + split + f"z = {term.format(a=a)}\ny = softmax(z) + dot(r, z)\n"
    model = rnnc.compile(text.replace("tanh(0.5)", "tanh(sum(x))"), backend="reference").double()
    x = (1 + torch.arange(8.0).double().view(4, 1, 2) / 8).requires_grad_()
    y, _ = model(x)
    assert y.isfinite().all()
    y.square().sum().backward()
    assert x.grad.isfinite().all()
    only = y[0, 0]
    assert only[0] == only[1]
    torch.testing.assert_close(only[2] - only[0], torch.ones(()).double())
