"""The pointer sentinel model is Merity et al. 2016, sections 2.1 to 2.5, written again in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import rnnc
from rnnc.compiler.module.compiled_rnn import CompiledRNN

SIZES = {"layers": 2, "hidden": 6, "window": 4, "vocab": 8}


def compiled(**more: int | float) -> CompiledRNN:
    torch.manual_seed(0)
    model = rnnc.compile("zoo:pointer_sentinel_lstm", parameters={**SIZES, "drop": 0, **more})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return model


def sigma(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max())
    return e / e.sum()


def by_hand(
    model: CompiledRNN, words: list[int], targets: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities of each next word, and each step's pointer loss."""
    w = {name: value.detach().double().numpy() for name, value in model.named_parameters()}
    states = [(np.zeros(6), np.zeros(6)) for _ in range(2)]
    seen: list[tuple[np.ndarray, int]] = []
    probabilities, losses = [], []
    for word, target in zip(words, targets, strict=True):
        z = w["E"][:, word] if word >= 0 else np.zeros(6)
        for layer, (h, c) in enumerate(states):
            p = f"plus_{layer + 1}."
            i, f, g, o = (w[f"{p}W{n}"] @ z + w[f"{p}U{n}"] @ h + w[f"{p}b{n}"] for n in "ifgo")
            c = sigma(f) * c + sigma(i) * np.tanh(g)
            z = sigma(o) * np.tanh(c)
            states[layer] = (z, c)
        # A blank step has no word to point at, so it is none of the places to look at.
        seen.append((z, word))
        places = [(h, word) for h, word in seen[-4:] if word >= 0]
        q = np.tanh(w["W"] @ z + w["b_q"])
        a = softmax(np.array([h @ q for h, _ in places] + [q @ w["s"]]))
        p = a[-1] * softmax(w["predict.V"] @ z + w["predict.b"])
        for (_, seen_word), share in zip(places, a[:-1], strict=True):
            p[seen_word] += share
        probabilities.append(p)
        pointed = sum(s for (_, v), s in zip(places, a[:-1], strict=True) if v == target)
        losses.append(-np.log(a[-1] + pointed))
    return np.stack(probabilities), np.array(losses)


@pytest.mark.parametrize("blank", [False, True])
def test_probabilities_and_supervision(blank):
    model = compiled().double()
    line = torch.randint(0, 8, (10, 5))
    x, target = line[:-1].clone(), line[1:]
    if blank:
        x[0] = -1
    y, _ = model(x)
    torch.testing.assert_close(y.exp().sum(-1), torch.ones(9, 5, dtype=torch.float64))
    plain = rnnc.compile(
        "zoo:pointer_sentinel_lstm", parameters={**SIZES, "drop": 0, "supervision": 0}
    )
    plain = plain.double()
    plain.load_state_dict(model.state_dict())
    added = model.loss(y, target) - plain.loss(plain(x)[0], target)
    losses = []
    for row in range(5):
        p, loss = by_hand(model, x[:, row].tolist(), target[:, row].tolist())
        np.testing.assert_allclose(y[:, row].exp().detach(), p, rtol=1e-10)
        losses.append(loss)
    if not blank:  # the term counts a blank place as one of its own
        assert added.item() == pytest.approx(np.mean(losses), rel=1e-10)


def test_extreme_logits_in_float32():
    model = compiled()
    with torch.no_grad():
        for name in ("predict.b", "s", "W"):
            value = model.get_parameter(name)
            value.copy_(100 * value / value.abs().max())
    line = torch.randint(0, 8, (12, 5))
    y, _ = model(line[:-1])
    assert y.isfinite().all()
    assert y.min() < -80
    loss = model.loss(y, line[1:])
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    double = compiled().double()
    double.load_state_dict({k: v.double() for k, v in model.state_dict().items()})
    exact, _ = double(line[:-1])
    torch.testing.assert_close(y.double(), exact, rtol=1e-4, atol=2e-3)


def test_streaming_word_by_word_looks_through_the_same_window():
    model = compiled().double().eval()
    x = torch.randint(0, 8, (9, 3))
    whole, _ = model(x)
    state = model.initial_state(3)
    for t in range(9):
        y, state = model.step(x[t], state)
        torch.testing.assert_close(y, whole[t], rtol=1e-11, atol=1e-11)
    assert state.age.tolist() == [9, 9, 9]
