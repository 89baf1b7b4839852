"""Compare `nll` with its definition, row by row and segment by segment, and in parts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import rnnc
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.operators.graph.carry import carry_entries
from support.comparison import random_arguments
from support.generator import random_spec

STEPS, ROWS = 7, 4
# A symbol and a vector predicted, one input that is not; histories, a window, a learned beginning.
SEVERAL = """
input s: symbol[4]
input x: real[2]
input e: binary[3]
state h: real[3] = learned
state g: real[3] = 0.2
h' = tanh(W h + A g[t-2] + U s + V x[t-2] + D e + b)
M = g[t-2..t]
S = s[t-1..t]
g' = σ(E h' + b_1 + 0.1 * sum(S [F h' ; sum(h)]))
param F: real[3, 3]
s' = G (Mᵀ softmax(M h')) + b_2
x' = ▷ h'
"""


def names_of(model: CompiledRNN) -> list[str]:
    return [output.predicted_input for output in model.graph.outputs if output.predicted_input]


def made(text: str, seed: int = 0, sizes: Any = None, **said: Any) -> CompiledRNN:
    model = rnnc.compile(text, parameters=sizes or {}, **said).double().eval()
    return random_arguments.randomize_parameters(model, seed)


@cache
def predicting(seed: int) -> CompiledRNN:
    """A random model that predicts an input, runs forward, and draws nothing in evaluation."""
    while True:
        seed += 1000
        spec = random_spec(seed)
        model = made(spec.text, seed, spec.sizes, backend="reference")
        drawn = any(state.initial_value.kind == "uniform" for state in model.graph.states)
        if names_of(model) and not drawn and not model.runs_backward:
            return model


def blank(variable: Any) -> Tensor:
    """One step of one row in which there is nothing."""
    if variable.type.kind == "symbol":
        return torch.full((1, 1), -1)
    return torch.zeros(1, 1, variable.type.size, dtype=torch.float64)


def loss_of(kind: str, y: list[float], target: Any) -> float:
    """The loss of one step as a textbook writes it; 0 for no symbol."""
    if kind == "symbol":
        return 0.0 if target < 0 else math.log(sum(map(math.exp, y))) - y[target]
    if kind == "real":
        return sum((a - b) ** 2 for a, b in zip(y, target, strict=True))
    return sum(math.log1p(math.exp(a)) - b * a for a, b in zip(y, target, strict=True))


def by_hand(
    model: CompiledRNN, x: dict[str, Tensor], lengths: Tensor | None, resets: Tensor | None
) -> Tensor:
    """(T, B): each segment of each row is a call of its own, a blank and all its steps but one."""
    steps, rows = next(iter(x.values())).shape[:2]
    losses = torch.zeros(steps, rows, dtype=torch.float64)
    for b in range(rows):
        end = steps if lengths is None else int(lengths[b])
        if not end:
            continue
        starts = [t for t in range(end) if t == 0 or (resets is not None and resets[t, b])]
        for start, stop in zip(starts, [*starts[1:], end], strict=True):
            fed = {
                v.name: torch.cat([blank(v), x[v.name][start : stop - 1, b : b + 1]])
                for v in model.graph.inputs
            }
            y, _ = model(fed)
            ys = y if isinstance(y, tuple) else (y,)
            for output, value in zip(model.graph.outputs, ys, strict=True):
                if output.predicted_input:
                    goal = x[output.predicted_input][start:stop, b].tolist()
                    for t in range(stop - start):
                        loss = loss_of(output.type.kind, value[t, 0].tolist(), goal[t])
                        losses[start + t, b] += loss
    return losses


def call_of(model: CompiledRNN, seed: int, *, ragged: bool, reset: bool) -> dict[str, Any]:
    """Arguments of a call; what lies past a row's end is no number, where that can be."""
    x = random_arguments.random_inputs(model.graph, STEPS, ROWS, seed=seed)
    lengths = random_arguments.random_lengths(STEPS, ROWS, seed=seed) if ragged else None
    if lengths is not None:
        past = torch.arange(STEPS).unsqueeze(-1) >= lengths
        for value in x.values():
            value[past] = torch.nan if value.is_floating_point() else -1
    return {
        "x": x,
        "lengths": lengths,
        "resets": random_arguments.random_resets(STEPS, ROWS, seed=seed) if reset else None,
    }


def flat(carry: Any) -> list[Tensor]:
    return [*carry.state, *(carry.x if isinstance(carry.x, tuple) else (carry.x,))]


def row(model: CompiledRNN, carry: Any, b: int) -> list[Tensor]:
    """What a carry holds of one row."""
    axes = [int(item.steps > 1) for item in carry_entries(model.graph)]
    axes += [0] * (len(flat(carry)) - len(axes))
    return [part.select(axis, b) for part, axis in zip(flat(carry), axes, strict=True)]


def assert_same(found: Iterable[Tensor], expected: Iterable[Tensor]) -> None:
    for actual_part, expected_part in zip(found, expected, strict=True):
        assert_near(actual_part, expected_part)


def assert_near(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=40)
@given(seed=st.integers(0, 40), ragged=st.booleans(), reset=st.booleans())
def test_each_step_is_scored_by_what_came_before_it(seed, ragged, reset):
    model = predicting(seed)
    call = call_of(model, seed, ragged=ragged, reset=reset)
    with torch.no_grad():
        actual, _ = model.nll(**call, reduction="none")
        assert_near(actual, by_hand(model, **call))
        total, _ = model.nll(**call, reduction="sum")
        assert_near(total, actual.sum())


@pytest.mark.parametrize("backend", ["reference", "aten", "cpu"])
@pytest.mark.parametrize("reset", [False, True])
def test_several_inputs_of_which_some_are_predicted(backend, reset):
    model = made(SEVERAL, backend=backend)
    call = call_of(model, 3, ragged=True, reset=reset)
    with torch.no_grad():
        actual, _ = model.nll(**call, reduction="none")
        assert_near(actual, by_hand(made(SEVERAL, backend="reference"), **call))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 40),
    ragged=st.booleans(),
    reset=st.booleans(),
    weighted=st.booleans(),
    cuts=st.lists(st.integers(0, STEPS), max_size=4),
)
def test_pieces_give_what_the_whole_gives(seed, ragged, reset, weighted, cuts):
    model = predicting(seed)
    call = call_of(model, seed, ragged=ragged, reset=reset)
    generator = torch.Generator().manual_seed(seed)
    weight = torch.rand(STEPS, ROWS, generator=generator) if weighted else None
    lengths = call["lengths"]
    with torch.no_grad():
        complete, last = model.nll(**call, weight=weight, reduction="none")
        total, _ = model.nll(**call, weight=weight, reduction="sum")
        boundaries = [0, *sorted(cuts), STEPS]
        carry, parts, sums = None, [], []
        for start, stop in pairwise(boundaries):
            part = {
                "x": {name: value[start:stop] for name, value in call["x"].items()},
                "lengths": None if lengths is None else (lengths - start).clamp(0, stop - start),
                "resets": None if call["resets"] is None else call["resets"][start:stop],
                "weight": None if weight is None else weight[start:stop],
            }
            losses, _ = model.nll(**part, carry=carry, reduction="none")
            added, carry = model.nll(**part, carry=carry, reduction="sum")
            parts.append(losses)
            sums.append(added)
    assert_near(torch.cat(parts), complete)
    assert_near(torch.stack(sums).sum(), total)
    assert_same(flat(carry), flat(last))


@pytest.mark.parametrize("backend", ["reference", "aten", "cpu"])
def test_pieces_of_every_length_on_every_backend(backend):
    """Shorter than what the model looks back, and of no step at all."""
    model = made(SEVERAL, backend=backend)
    call = call_of(model, 3, ragged=True, reset=True)
    with torch.no_grad():
        complete, last = model.nll(**call, reduction="none")
        for boundaries in ([0, 1, 2, 2, 3, 4, 5, 6, 7], [0, 0, 2, 5, 7], [0, 4, 7, 7]):
            carry, parts = None, []
            for start, stop in pairwise(boundaries):
                losses, carry = model.nll(
                    {name: value[start:stop] for name, value in call["x"].items()},
                    carry,
                    (call["lengths"] - start).clamp(0, stop - start),
                    call["resets"][start:stop],
                    reduction="none",
                )
                parts.append(losses)
            assert_near(torch.cat(parts), complete)
            assert_same(flat(carry), flat(last))


def test_a_beginning_that_is_drawn_is_drawn_once_a_segment():
    model = made("input x: real[2]\nstate h: real[3] = uniform(0, 1)\nh' = x ⊕ h\nx' = ▷ h'\n")
    x = random_arguments.random_inputs(model.graph, STEPS, ROWS, seed=1)["x"]
    torch.manual_seed(3)
    complete, _ = model.nll(x, reduction="none")
    torch.manual_seed(3)
    first, carry = model.nll(x[:0], reduction="none")
    second, carry = model.nll(x[:2], carry, reduction="none")
    third, _ = model.nll(x[2:], carry, reduction="none")
    assert_near(torch.cat([first, second, third]), complete)


def test_pieces_that_forget_the_last_step_would_be_seen():
    model = made("input x: real[2]\nstate h: real[3]\nh' = x ⊕ h\nx' = ▷ h'\n")
    call = call_of(model, 0, ragged=False, reset=False)
    first, second = ({n: v[part] for n, v in call["x"].items()} for part in (slice(3), slice(3, 7)))
    with torch.no_grad():
        complete, _ = model.nll(**call, reduction="sum")
        a, carry = model.nll(first, reduction="sum")
        b, _ = model.nll(second, carry._replace(x=torch.zeros_like(carry.x)), reduction="sum")
    assert (a + b - complete).abs() > 1e-6


@pytest.mark.parametrize("backend", ["reference", "aten", "cpu"])
def test_the_carry_predicts_what_comes_next(backend):
    """`step` on it gives the logits that the next piece is scored by; rows end where they end."""
    model = made(SEVERAL, backend=backend)
    x = random_arguments.random_inputs(model.graph, 6, 3, seed=1)
    lengths = torch.tensor([6, 0, 4])
    with torch.no_grad():
        _, carry = model.nll(x, lengths=lengths)
        assert carry._fields == ("state", "x")
        assert carry.x._fields == ("s", "x", "e")
        assert carry.x.s.tolist() == [x["s"][5, 0], -1, x["s"][3, 2]]
        assert_near(carry.x.x, torch.stack([x["x"][5, 0], torch.zeros(2), x["x"][3, 2]]))
        y, _ = model.step(carry.x, carry.state)
        after = random_arguments.random_inputs(model.graph, 1, 3, seed=2)
        actual, _ = model.nll(after, carry, reduction="none")
    for row in range(3):
        expected = loss_of("symbol", y.s[row].tolist(), int(after["s"][0, row]))
        expected += loss_of("real", y.x[row].tolist(), after["x"][0, row].tolist())
        assert actual[0, row].item() == pytest.approx(expected, abs=1e-12)


def test_no_carry_is_a_blank_step_and_the_initial_state():
    model = made(SEVERAL)
    x = random_arguments.random_inputs(model.graph, 4, 3, seed=1)
    empty_loss, start = model.nll({name: value[:0] for name, value in x.items()})
    assert empty_loss == 0
    assert start.x.s.tolist() == [-1, -1, -1]
    assert not start.x.x.any()
    assert not start.x.e.any()
    assert_same(start.state, model.initial_state(3))
    assert_near(model.nll(x, start)[0], model.nll(x)[0])


def test_a_row_of_length_0_keeps_its_carry_and_a_reset_at_0_drops_it():
    model = made(SEVERAL)
    x = random_arguments.random_inputs(model.graph, 4, 3, seed=1)
    _, carry = model.nll(random_arguments.random_inputs(model.graph, 5, 3, seed=2))
    resets = torch.zeros(4, 3, dtype=torch.bool)
    resets[0, 1:] = True
    lengths = torch.tensor([4, 4, 0])
    actual, after = model.nll(x, carry, lengths, resets, reduction="none")
    fresh_loss, second = model.nll(x, lengths=lengths, reduction="none")
    kept_loss, _ = model.nll(x, carry, lengths=lengths, reduction="none")
    assert_near(actual[:, 0], kept_loss[:, 0])
    assert_near(actual[:, 1], fresh_loss[:, 1])
    assert not actual[:, 2].any()
    assert (fresh_loss - kept_loss)[:, :2].abs().min() > 0
    assert_same(row(model, after, 2), row(model, carry, 2))
    assert_same(row(model, after, 1), row(model, second, 1))


def test_what_lies_before_a_reset_is_scored_and_not_read():
    model = made(SEVERAL)
    x = random_arguments.random_inputs(model.graph, 6, 2, seed=1)
    x["s"] = x["s"].clamp(min=0)
    resets = torch.zeros(6, 2, dtype=torch.bool)
    resets[3] = True
    before, _ = model.nll(x, resets=resets, reduction="none")
    x["x"][2] += 1
    x["s"][2] = (x["s"][2] + 1) % 4
    x["e"][2] = 1 - x["e"][2]
    after, _ = model.nll(x, resets=resets, reduction="none")
    changed = (before - after).abs() > 1e-9
    assert changed.any(1).tolist() == [False, False, True, False, False, False]


@pytest.mark.parametrize("several", [False, True])
def test_batch_first_turns_all_but_the_carry(several):
    text = SEVERAL if several else "input x: binary[3]\nstate h: real[2]\nh' = x ⊕ h\nx' = ▷ h'\n"
    model, second = made(text), made(text, batch_first=True)
    call = call_of(model, 5, ragged=True, reset=True)
    weight = torch.rand(STEPS, ROWS)
    _, carry = model.nll(random_arguments.random_inputs(model.graph, 2, ROWS, seed=6))
    turned = {name: value.transpose(0, 1) for name, value in call["x"].items()}
    for reduction in ("none", "sum", "mean"):
        actual, after = second.nll(
            turned, carry, call["lengths"], call["resets"].T, weight.T, reduction
        )
        expected, last = model.nll(**call, carry=carry, weight=weight, reduction=reduction)
        assert_near(actual.T if reduction == "none" else actual, expected)
        assert_same(flat(after), flat(last))
    actual_part, expected_part = (
        m.step(c.x, c.state)[0] for m, c in ((second, after), (model, last))
    )
    assert_same(
        actual_part if several else (actual_part,), expected_part if several else (expected_part,)
    )


def test_the_mean_is_over_what_is_scored():
    model = made("input s: symbol[4]\nstate h: real[3]\nh' = s ⊕ h\ns' = ▷ h'\n")
    s = torch.randint(0, 4, (6, 3))
    s[2, 1] = s[4, 0] = -1
    lengths = torch.tensor([6, 4, 0])
    losses, _ = model.nll(s, lengths=lengths, reduction="none")
    assert_near(model.nll(s, lengths=lengths)[0], losses.sum() / 8)
    assert not losses[4:, 1].any()
    assert not losses[2, 1]
    weight = torch.rand(6, 3, dtype=torch.float64)
    is_scored = (losses != 0).double() * weight
    weighed, _ = model.nll(s, lengths=lengths, weight=weight)
    assert_near(weighed, (losses * weight).sum() / is_scored.sum())
    assert_near(
        model.nll(s, lengths=lengths, weight=weight > 0.5)[0],
        (losses[weight > 0.5].sum()) / (is_scored > 0.5).sum(),
    )
    assert model.nll(s * 0 - 1)[0] == 0
    assert model.nll(s, lengths=torch.zeros(3, dtype=torch.int64))[0] == 0
    assert model.nll(s[:0])[0] == 0
    assert model.nll(s[:, :0])[0] == 0
    none, carry = model.nll(s[:, :0], reduction="none")
    assert none.shape == (6, 0)
    assert carry.x.shape == (0,)


def test_several_predictions_add_up_and_a_dictionary_of_weights_leaves_some_out():
    model = made(SEVERAL)
    x = random_arguments.random_inputs(model.graph, 5, 2, seed=1)
    x["s"][1, 0] = -1
    weight = torch.rand(5, 2, dtype=torch.float64)
    only = {name: model.nll(x, weight={name: weight}, reduction="mean")[0] for name in ("s", "x")}
    assert_near(model.nll(x, weight=weight)[0], only["s"] + only["x"])
    assert_near(model.nll(x, weight={"s": weight, "x": weight})[0], only["s"] + only["x"])
    assert model.nll(x, weight={})[0] == 0
    assert model.nll(x, weight={}, reduction="none")[0].shape == (5, 2)


@pytest.mark.parametrize("training", [True, False])
def test_in_training_laws_and_loss_lines_are_added_as_loss_adds_them(training):
    text = """
    input x: real[2]
    input e: binary[3]
    state h: real[3]
    h' = dropout(0.4, x ⊕ h) + U e
    x' = ▷ h'
    law x ⊕ h ≈ h ⊕₂ x weight 0.3
    loss dot(D h' - e', D h' - e') weight 0.7
    loss sum(x' - ▷ h') weight 0.2
    operator h ⊕₂ x = tanh(C h + E x)
    param D: real[3, 3]
    """
    model = made(text).train(training)
    x = random_arguments.random_inputs(model.graph, 6, 3, seed=1)
    lengths = torch.tensor([6, 2, 0])
    resets = random_arguments.random_resets(6, 3, seed=1)
    fed = {
        n: torch.where(resets.unsqueeze(-1), 0, v)
        for n, v in ((n, torch.cat([torch.zeros_like(v[:1]), v[:-1]])) for n, v in x.items())
    }
    torch.manual_seed(4)
    y, _ = model(fed, lengths=lengths, resets=resets)
    expected = model.loss(y, {"x": x["x"], "e": x["e"]}, lengths=lengths)
    target_loss = model.eval().loss(y, {"x": x["x"]}, lengths=lengths)
    model.train(training)
    torch.manual_seed(4)
    actual, _ = model.nll(x, lengths=lengths, resets=resets)
    assert_near(actual, expected)
    assert ((actual - target_loss).abs() > 1e-3) == training
    torch.manual_seed(4)
    complete, _ = model.nll(x, lengths=lengths, resets=resets, reduction="sum")
    torch.manual_seed(4)
    losses, _ = model.nll(x, lengths=lengths, resets=resets, reduction="none")
    assert_near(losses.sum(), target_loss * 8)
    assert_near(complete, losses.sum() + (actual - target_loss))


def test_gradients_reach_what_came_before_through_the_carry_until_it_is_detached():
    model = made(SEVERAL).train()
    x = random_arguments.random_inputs(model.graph, 3, 2, seed=1)
    x["x"].requires_grad_()
    _, carry = model.nll(x)
    inputs = random_arguments.random_inputs(model.graph, 3, 2, seed=2)
    (gradient,) = torch.autograd.grad(model.nll(inputs, carry)[0], x["x"], retain_graph=True)
    assert gradient.abs().min() > 0
    cut = carry.detach()
    assert type(cut) is type(carry)
    for actual_part, expected_part in zip(flat(cut), flat(carry), strict=True):
        assert not actual_part.requires_grad
        assert torch.equal(actual_part, expected_part)
    loss, _ = model.nll(inputs, cut)
    assert torch.autograd.grad(loss, x["x"], allow_unused=True) == (None,)


@pytest.mark.parametrize("backend", ["reference", "aten", "cpu"])
def test_gradients_are_those_of_each_row_alone(backend):
    model = made(SEVERAL, backend=backend)
    call = call_of(model, 4, ragged=True, reset=True)
    weights = list(model.parameters())
    total, _ = model.nll(**call, reduction="sum")
    actual = torch.autograd.grad(total, weights)
    expected = [torch.zeros_like(weight) for weight in weights]
    for b, n in enumerate(call["lengths"].tolist()):
        x = {name: value[:n, b : b + 1] for name, value in call["x"].items()}
        if n:
            row_loss, _ = model.nll(x, resets=call["resets"][:n, b : b + 1], reduction="sum")
            for sum_, part in zip(expected, torch.autograd.grad(row_loss, weights), strict=True):
                sum_ += part
    for actual_part, expected_part in zip(actual, expected, strict=True):
        torch.testing.assert_close(actual_part, expected_part, rtol=1e-9, atol=1e-9)


def test_a_state_is_cut_off_too():
    model = made(SEVERAL)
    _, state = model(random_arguments.random_inputs(model.graph, 3, 2, seed=1))
    cut = state.detach()
    assert type(cut) is type(state)
    assert not any(part.requires_grad for part in cut)
    assert all(torch.equal(a, b) for a, b in zip(cut, state, strict=True))
    named = made(
        "input x: real\nstate detach: real\ndetach' = x + a ⊙ detach\nx' = detach'\nparam a: vector"
    )
    _, state = named(torch.ones(2, 1, 1, dtype=torch.float64))
    assert state._fields == ("detach_",)
    assert not state.detach().detach_.requires_grad


BACKWARD = """
input x: real[2]
state h, g: real[3]
output y: real[2]
h[t] = x ⊕ h[t-1]
g[t] = x ⊕₂ g[t+1]
x' = ▷ h'
y = V g'
"""


def test_a_model_that_runs_backward_takes_and_gives_no_carry():
    model = made(BACKWARD)
    x = random_arguments.random_inputs(model.graph, STEPS, ROWS, seed=1)
    call = call_of(model, 1, ragged=True, reset=True)
    actual, carry = model.nll(**call, reduction="none")
    assert carry is None
    assert_near(actual, by_hand(model, **call))
    forward = made(BACKWARD.replace("⊕₂ g[t+1]", "⊕₂ g[t-1]"))
    with pytest.raises(ValueError, match="no carry to go on from: g runs backward in time"):
        model.nll(x, forward.nll(x)[1])


def test_what_predicts_nothing_has_none():
    model = made("input x: real[2]\noutput y: real[2]\ny = W x\nloss sum(x' - y_0)\ny_0 = V x")
    with pytest.raises(ValueError, match="this model has no nll: it predicts no input"):
        model.nll(torch.zeros(3, 2, 2, dtype=torch.float64))


X = torch.zeros(5, 3, 2, dtype=torch.float64)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"x": X[..., 0]}, r"input x: expected \(T, B, 2\)"),
        ({"x": {"z": X}}, r"expected inputs named \['x'\]"),
        ({"reduction": "avg"}, "reduction: expected one of mean, sum, none, got 'avg'"),
        ({"lengths": [6, 1, 1]}, "lengths: expected values from 0 to 5, got 6"),
        ({"resets": torch.zeros(5, 3)}, "resets: expected a tensor of bool"),
        ({"resets": torch.zeros(4, 3, dtype=torch.bool)}, r"resets: expected \(5, 3\)"),
        ({"weight": torch.zeros(4, 3)}, r"weight: expected real numbers of shape \(5, 3\)"),
        ({"weight": -torch.ones(5, 3)}, "weight: expected finite numbers from 0 up"),
        ({"weight": {"y": torch.ones(5, 3)}}, r"weight: expected some of \['x'\], got \['y'\]"),
        ({"weight": [1.0]}, "weight: expected a tensor, or a dictionary"),
        ({"carry": X[0]}, r"carry: expected \(state, x\)"),
        ({"carry": (X[0], X[0], X[0])}, r"carry: expected \(state, x\)"),
        ({"carry": ((torch.zeros(3, 4, dtype=torch.float64),), X)}, "carry.x, one step: input x"),
        ({"carry": ((torch.zeros(3, 4, dtype=torch.float64),), X[0, :2])}, "3 rows of x, got 2"),
        ({"carry": ((torch.zeros(2, 4, dtype=torch.float64),), X[0])}, "state.h"),
    ],
)
def test_arguments_that_do_not_fit_say_what_was_expected(arguments, words):
    model = made("input x: real[2]\nstate h: real[4]\nh' = x ⊕ h\nx' = ▷ h'")
    with pytest.raises(ValueError, match=words):
        model.nll(**{"x": X, **arguments})


def test_binary_targets_are_checked():
    model = made("input x: binary[2]\nstate h: real[4]\nh' = x ⊕ h\nx' = ▷ h'")
    with pytest.raises(ValueError, match=r"binary target in 0\.\.1, got 0\.\.2"):
        model.nll(torch.where(torch.arange(5).view(-1, 1, 1) == 3, 2.0, X))
    loss, carry = model.nll(torch.ones(5, 3, 2, dtype=torch.int64))
    assert_near(loss, model.nll(X + 1)[0])
    assert carry.x.dtype == torch.float64


def test_hooks_see_the_call():
    """What torch hangs on a module (a parametrisation of old, a profiler) is part of `nll`."""
    model = made("input x: real[2]\nstate h: real[4]\nh' = x ⊕ h\nx' = ▷ h'")
    calls = []
    model.register_forward_pre_hook(lambda module, arguments: calls.append(len(arguments)))
    model.nll(X)
    assert calls == [2]
