"""Check `model.loss`: targets and weights by name, unscored outputs, errors."""

from __future__ import annotations

import copy
import re
import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import rnnc
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.compiler.module.losses import mean_loss, weighted_losses
from support.comparison import random_arguments
from support.generator import random_spec

STEPS, ROWS = 6, 4
THREE = """
input x: real[2]
state h: real[3]
output y: symbol[4]
output z: binary[2] at end
h' = x ⊕ h
y = V h' + b
z = Q h'
x' = ▷ h'
"""
PLAIN = "input x: real[2]\nstate h: real[3]\nh' = x ⊕ h\nx' = ▷ h'\n"
# A mixture of three Gaussians of variance 1, of which one line makes a likelihood.
MIXTURE = """
input x: real
state h: real[5]
output weights, means: real[3] unscored
h' = dropout(0.5, x ⊕ h)
π = softmax(A h' + b_1)
μ = M h' + b_2
weights = π
means = μ
loss -log(sum(π ⊙ exp(-0.5 * (μ - x') ⊙ (μ - x')))) weight 2
"""


def made(text: str, **said: Any) -> CompiledRNN:
    return random_arguments.randomize_parameters(rnnc.compile(text, **said).double(), 0)


def called(model: CompiledRNN, **said: Any) -> tuple[Any, dict[str, Tensor]]:
    """What a call gives, and a target for each of its variables, by name."""
    y, _ = model(random_arguments.random_inputs(model.graph, STEPS, ROWS, seed=1), **said)
    targets = random_arguments.random_targets(model, y)
    names = [output.predicted_input or output.name for output in model.graph.scored_outputs]
    targets = targets if isinstance(targets, tuple) else (targets,)
    return y, dict(zip(names, targets, strict=True))


def test_outputs_that_are_not_named_are_left_out():
    model = made(THREE).eval()
    y, targets = called(model)
    losses = {
        "y": mean_loss("symbol", y.y, targets["y"]),
        "z": mean_loss("binary", y.z, targets["z"]),
        "x": mean_loss("real", y.x, targets["x"]),
    }
    for names in ({"y"}, {"z", "x"}, {"x", "y", "z"}, set()):
        actual = model.loss(y, {name: targets[name] for name in names})
        torch.testing.assert_close(
            actual, sum((losses[n] for n in names), torch.zeros(()).double())
        )
    in_order = tuple(targets.values())
    torch.testing.assert_close(model.loss(y, in_order), sum(losses.values()))
    torch.testing.assert_close(model.loss(y._asdict(), in_order), sum(losses.values()))


@pytest.mark.parametrize("batch_first", [False, True])
def test_weights_are_one_for_all_or_by_name(batch_first):
    model = made(THREE).eval()
    y, targets = called(model)
    steps, ends = torch.rand(STEPS, ROWS), torch.rand(ROWS)
    lengths = torch.tensor([6, 0, 3, 5])
    expected = mean_loss("symbol", y.y, targets["y"], lengths, steps)
    expected = expected + mean_loss("binary", y.z, targets["z"], None, ends)
    if batch_first:
        second = made(THREE, batch_first=True).eval()
        y = type(y)(*(v if v.dim() == 2 else v.transpose(0, 1) for v in y))
        targets = {n: v if n == "z" else v.transpose(0, 1) for n, v in targets.items()}
        steps, model = steps.T, second
    actual = model.loss(y, targets, lengths=lengths, weight={"z": ends, "y": steps})
    torch.testing.assert_close(actual, expected)
    only = {"y": targets["y"]}
    torch.testing.assert_close(
        model.loss(y, only, lengths=lengths, weight=steps),
        model.loss(y, only, lengths=lengths, weight={"y": steps}),
    )
    torch.testing.assert_close(
        model.loss(y, targets, weight={"y": steps}), model.loss(y, only, weight=steps)
    )


def test_weights_of_0_and_1_are_as_leaving_out():
    model = made(THREE).eval()
    y, targets = called(model)
    is_scored = torch.rand(STEPS, ROWS) < 0.5
    fewer = torch.where(is_scored, targets["y"], -1)
    torch.testing.assert_close(
        model.loss(y, {"y": targets["y"]}, weight=is_scored), model.loss(y, {"y": fewer})
    )
    assert model.loss(y, {"y": targets["y"]}, weight=is_scored & False) == 0


@pytest.mark.parametrize(
    ("target", "said", "words"),
    [
        (None, {}, r"target: expected a tensor for each of \['x', 'y', 'z'\], got NoneType"),
        ((1, 2), {}, r"for each of \['x', 'y', 'z'\], got 2"),
        ({"q": torch.zeros(1)}, {}, r"expected some of \['x', 'y', 'z'\], got \['q'\]"),
        ({"y": 3}, {}, "target: expected a tensor for y, got int"),
        ({"y": torch.zeros(6, 4)}, {}, "y: expected a symbol target of integers"),
        ({"y": torch.full((6, 4), 4)}, {}, r"y: expected symbols in 0\.\.3, got 4\.\.4"),
        ({"z": torch.full((4, 2), 2.0)}, {}, r"z: expected a binary target in 0\.\.1"),
        ({"z": torch.zeros(4, 2)}, {"weight": torch.ones(6, 4)}, r"z: weight: .* shape \(4,\)"),
        ({"z": torch.zeros(4, 2)}, {"weight": {"q": 1}}, r"weight: expected some of"),
        ({"z": torch.zeros(4, 2)}, {"weight": {"z": 1}}, "weight: expected a tensor for z"),
        ({"z": torch.zeros(4, 2)}, {"weight": -torch.ones(4)}, "z: weight: expected finite"),
        ({"z": torch.zeros(4, 2)}, {"weight": "mean"}, "weight: expected a tensor, or a dict"),
    ],
)
def test_what_does_not_fit_is_named(target, said, words):
    model = made(THREE).eval()
    y, _ = called(model)
    with pytest.raises(ValueError, match=words):
        model.loss(y, target, **said)


def test_an_unscored_output_has_no_place_among_the_targets():
    model = made(THREE.replace("symbol[4]", "symbol[4] unscored")).eval()
    y, _ = called(model)
    x, z = torch.randn(STEPS, ROWS, 2).double(), torch.ones(ROWS, 2)
    expected = mean_loss("real", y.x, x) + mean_loss("binary", y.z, z)
    torch.testing.assert_close(model.loss(y, (x, z)), expected)
    torch.testing.assert_close(model.loss(y, {"x": x, "z": z}), expected)
    with pytest.raises(ValueError, match=r"some of \['x', 'z'\], got \['y'\]"):
        model.loss(y, {"y": torch.zeros(STEPS, ROWS, dtype=torch.int64)})


@pytest.mark.parametrize("backend", ["reference", "aten", "cpu"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_loss_lines_alone_score_a_mixture_in_training_and_in_evaluation(backend, batch_first):
    model = made(MIXTURE, backend=backend, batch_first=batch_first)
    line = torch.randn(STEPS + 1, ROWS, 1, dtype=torch.float64)
    lengths = torch.tensor([6, 0, 3, 5])
    x, after = line[:-1], {"x": line[1:]}
    if batch_first:
        x, after = x.transpose(0, 1), {"x": line[1:].transpose(0, 1)}
    for training in (True, False):
        model.train(training)
        y, state = model(x, lengths=lengths)
        actual = model.loss(y, after, lengths=lengths)
        weights, means = (v.transpose(0, 1) if batch_first else v for v in y)
        likely = (weights * (-0.5 * (means - line[1:]).square()).exp()).sum(-1)
        alive = torch.arange(STEPS).unsqueeze(-1) < lengths
        torch.testing.assert_close(actual, -2 * likely[alive].log().mean())
        gradients = torch.autograd.grad(actual, list(model.parameters()))
        assert all(gradient.abs().max() > 0 for gradient in gradients)
        with torch.no_grad():
            repeated, second = model(x, lengths=lengths)
            torch.testing.assert_close(second, state) if not training else None
            assert type(repeated) is type(y)
    with pytest.raises(ValueError, match=r"reads the next value of x, .* got none"):
        model.loss(y)
    with pytest.raises(ValueError, match=r"target: expected a tensor for each of \[\], got 1"):
        model.loss(y, after["x"])


def test_evaluation_of_a_mixture_is_that_of_its_copy_and_of_small_calls_again():
    """Short ways of a call that is like an earlier one keep nothing, and are not taken."""
    model = made(MIXTURE).eval()
    line = torch.randn(3, 2, 1, dtype=torch.float64)
    with torch.no_grad():
        losses = [model.loss(model(line[:-1])[0], {"x": line[1:]}) for _ in range(5)]
        second = copy.deepcopy(model)
        losses.append(second.loss(second(line[:-1])[0], {"x": line[1:]}))
        for _ in range(4):
            y, _ = model.step(line[0])
            losses.append(model.loss([v.unsqueeze(0) for v in y], {"x": line[1:2]}))
    values = [loss.item() for loss in losses]
    assert len(set(values[:6])) == len(set(values[6:])) == 1


@pytest.mark.filterwarnings("ignore")
def test_a_mixture_is_traced_in_evaluation():
    torch._dynamo.reset()
    model = made(MIXTURE).eval()
    line = torch.randn(4, 2, 1, dtype=torch.float64)
    expected = model.loss(model(line[:-1])[0], {"x": line[1:]})
    traced = torch.compile(model, fullgraph=True, backend="aot_eager")
    actual = model.loss(traced(line[:-1])[0], {"x": line[1:]})
    torch.testing.assert_close(actual, expected)
    torch._dynamo.reset()


def test_a_loss_needs_no_target_where_nothing_is_scored_and_no_line_reads_one():
    text = "input x: real\nstate h: real[2]\noutput y: real[2] unscored\nh' = x ⊕ h\ny = h'\n"
    for training in (True, False):
        model = made(text + "loss dot(h', h')").train(training)
        y, _ = model(torch.ones(STEPS, ROWS, 1, dtype=torch.float64))
        torch.testing.assert_close(model.loss(y), y.square().sum(-1).mean())
        bare = made(text).train(training)
        assert bare.loss(bare(torch.ones(STEPS, ROWS, 1, dtype=torch.float64))[0]) == 0
    empty, _ = model(torch.ones(0, ROWS, 1, dtype=torch.float64))
    assert model.loss(empty) == 0
    empty, _ = model(torch.ones(STEPS, 0, 1, dtype=torch.float64))
    assert model.loss(empty) == 0
    with pytest.raises(ValueError, match="expected a call first"):
        made(text + "loss dot(h', h')").eval().loss(y)


SYMBOLS = """
input s: symbol[5]
input x: binary[2]
state h: real[3]
output y: real
h' = tanh(W h + U s + V x)
y = sum(h')
S = s[t-2..t]
loss sum(S s') weight 3
loss dot(E s', h') + sum(x')
param E: real[3, 5]
"""


def test_a_line_reads_the_next_value_of_an_input_that_nothing_predicts():
    model = made(SYMBOLS)
    x = random_arguments.random_inputs(model.graph, STEPS, ROWS, seed=1)
    after = random_arguments.random_inputs(model.graph, STEPS, ROWS, seed=2)
    goal = torch.randn(STEPS, ROWS, 1, dtype=torch.float64)
    after["s"][2, 1] = -100  # below 0 is no symbol, however far
    hidden, state = [], None
    for t in range(STEPS):
        _, state = model.step({name: value[t] for name, value in x.items()}, state)
        hidden.append(state.h)
    h, actual = torch.stack(hidden), torch.zeros(STEPS, ROWS, dtype=torch.float64)
    for t in range(STEPS):
        for b in range(ROWS):
            symbol = int(after["s"][t, b])
            if symbol >= 0:
                met = sum(int(x["s"][i, b]) == symbol for i in range(max(0, t - 2), t + 1))
                actual[t, b] = 3 * met + model.E[:, symbol] @ h[t, b]
            actual[t, b] += after["x"][t, b].sum()
    for lengths in (None, torch.tensor([6, 0, 3, 5])):
        y, _ = model(x, lengths=lengths)
        named_targets = {"y": goal, **{name: value.clone() for name, value in after.items()}}
        valid = torch.ones(STEPS, ROWS, dtype=torch.bool)
        if lengths is not None:
            valid = torch.arange(STEPS).unsqueeze(-1) < lengths
            named_targets["s"][~valid], named_targets["x"][~valid] = 10**6, torch.nan
        total = model.loss(y, named_targets, lengths=lengths)
        target_loss = mean_loss("real", y, goal, lengths)
        torch.testing.assert_close(total, target_loss + actual[valid].mean())
        torch.testing.assert_close(model.eval().loss(y, goal, lengths=lengths), target_loss)
        torch.testing.assert_close(model.loss(y, named_targets, lengths=lengths), target_loss)
        model.train()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"s": None}, "a `loss` line reads the next value of s"),
        ({"s": torch.full((6, 4), 5)}, r"target of s': expected symbols in 0\.\.4"),
        ({"s": torch.zeros(5, 4, dtype=torch.int64)}, r"target of s': .* shape \(6, 4\)"),
        ({"s": torch.zeros(6, 4)}, "target of s': .* of integers"),
        ({"x": torch.zeros(6, 4, 3)}, r"target of x': .* shape \(6, 4, 2\)"),
        ({"x": torch.full((6, 4, 2), 1.5)}, r"target of x': expected a binary target in 0\.\.1"),
    ],
)
def test_a_next_value_is_checked_before_a_line_reads_it(change, words):
    model = made(SYMBOLS)
    x = random_arguments.random_inputs(model.graph, STEPS, ROWS, seed=1)
    y, _ = model(x)
    named_targets = {"y": torch.zeros_like(y), **x, **change}
    with pytest.raises(ValueError, match=words):
        model.loss(y, {name: value for name, value in named_targets.items() if value is not None})


def test_a_prediction_that_a_line_reads_is_not_left_out():
    model = made(THREE + "loss sum(x')\n")
    y, targets = called(model)
    assert model.loss(y, targets).isfinite()
    del targets["x"]
    with pytest.raises(ValueError, match="a `loss` line reads the next value of x"):
        model.loss(y, targets)
    assert model.eval().loss(y, targets).isfinite()


def test_by_hand_is_the_last_call_with_its_lengths():
    """What the manual gives for a prediction by hand, with ragged rows, one of them empty."""
    text = PLAIN + "law x ⊕ h ≈ h ⊕₂ x weight 0.5\nloss dot(x', x') weight 0.1\n"
    model = made(text + "operator h ⊕₂ x = tanh(C h + E x)\n")
    x = torch.randn(STEPS, ROWS, 2, dtype=torch.float64)
    lengths = torch.tensor([6, 0, 1, 4])
    n = (lengths - 1).clamp(min=0)
    y, _ = model(x[:-1], lengths=n)
    actual = model.loss(y, x[1:], lengths=n)
    valid = torch.arange(STEPS - 1).unsqueeze(-1) < n
    losses, _ = weighted_losses("real", y, x[1:], n)
    expected = (losses.sum() + 0.1 * x[1:][valid].square().sum()) / valid.sum()
    expected = expected + 0.5 * sum(model.laws().values())
    torch.testing.assert_close(actual, expected)


def test_a_target_that_was_the_input_is_warned_of_once():
    model = made(PLAIN)
    x = torch.randn(STEPS, ROWS, 2, dtype=torch.float64)
    y, _ = model(x)
    with pytest.warns(UserWarning, match=r"very tensor .* `model.nll\(x\)` scores") as caught:
        model.loss(y, x)
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.loss(y, x)
        made(PLAIN).loss(y, x)


@pytest.mark.parametrize("batch_first", [False, True])
def test_every_way_to_give_the_input_as_target_is_seen(batch_first):
    x = torch.randn(STEPS, ROWS, 2, dtype=torch.float64)
    with torch.no_grad():
        for repeats in (1, 2, 3):  # the second call of a kind looks for a shorter way
            model = made(PLAIN, batch_first=batch_first)
            for _ in range(repeats):
                y, _ = model(x)
            with pytest.warns(UserWarning, match="very tensor"):
                model.loss(y, {"x": x})
    several = made(PLAIN.replace("x ⊕ h", "x ⊕ (h + E e)") + "input e: real[3]")
    e = torch.randn(STEPS, ROWS, 3, dtype=torch.float64)
    with pytest.warns(UserWarning, match="very tensor"):
        several.loss(several((x, e))[0], x)


def test_what_is_right_is_not_warned_of():
    x = torch.randn(STEPS, ROWS, 2, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = made(PLAIN)
        model.loss(model(x)[0], x.clone())
        model.loss(model(x[:-1])[0], x[1:])
        model.nll(x)
        model.loss(model(x[:-1])[0], x[1:])
        # An autoencoder's target is its input, which it does not say that it predicts.
        auto = made(PLAIN.replace("x' =", "y =") + "output y: real[2]")
        auto.loss(auto(x)[0], x)
    assert copy.deepcopy(model).training


def lines_of(seed: int) -> CompiledRNN | None:
    """A random model with `loss` lines, in which nothing is drawn; None where the seed has none."""
    spec = random_spec(seed)
    if "loss " not in spec.text or re.search("dropout|variational|zoneout", spec.text):
        return None
    model = rnnc.compile(spec.text, parameters=spec.sizes, backend="reference").double()
    graph = model.graph
    drawn = [state for state in graph.states if state.initial_value.kind == "uniform"]
    drawn += [parameter for parameter in graph.parameters if parameter.weightdrop]
    if (
        graph.loss_graph is None
        or drawn
        or graph.random_nodes
        or graph.loss_graph.graph.random_nodes
    ):
        return None
    return random_arguments.randomize_parameters(model, seed)


@pytest.mark.parametrize("backend", ["reference", "aten"])
def test_lines_that_alone_score_are_in_evaluation_what_they_are_in_training(backend):
    """Random models whose outputs are made `unscored`, with ragged rows and resets."""
    compared = 0
    for seed in range(600):
        model = lines_of(seed) if compared < 6 else None
        if model is None:
            continue
        bare = replace(
            model.graph, outputs=tuple(replace(o, unscored=True) for o in model.graph.outputs)
        )
        bare_model = CompiledRNN(bare, model.program, backend=backend).double()
        bare_model.load_state_dict(model.state_dict())
        feed = random_arguments.feed(model, STEPS, ROWS, seed=seed, ragged=True, reset=True)
        y, _ = feed.call(model)
        after = random_arguments.random_inputs(model.graph, STEPS, ROWS, seed=seed + 1)
        scored = {
            o.predicted_input or o.name: goal
            for o, goal in zip(
                model.graph.scored_outputs,
                as_tuple(random_arguments.random_targets(model, y)),
                strict=True,
            )
        }
        targets = scored | {i.name: after[i.name] for i in model.graph.loss_targets}
        expected = model.loss(y, targets, lengths=feed.lengths)
        expected = expected - sum(
            law.weight * value for law, value in zip(model.graph.laws, model._laws, strict=True)
        )
        expected = expected - model.eval().loss(y, targets, lengths=feed.lengths)
        read = {i.name: after[i.name] for i in model.graph.loss_targets}
        bare_model.eval()
        y, _ = feed.call(bare_model)
        torch.testing.assert_close(bare_model.loss(y, read, lengths=feed.lengths), expected)
        compared += 1
    assert compared > 4


def as_tuple(value: Any) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)
