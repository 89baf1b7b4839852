"""Compare the reference with the second oracle, and check that oracle by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnnc
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.operators.sources.zoo import ZOO, zoo_names
from support.comparison.oracle_check import assert_matches_oracle, is_random
from support.comparison.random_arguments import CallArguments, feed, randomize_parameters
from support.generator import random_spec
from support.second_oracle import RowArguments, Tangents, Unsupported, evaluate
from support.specs.rare_specs import RARE_SPECS
from support.specs.small_zoo import small_sizes

EXAMPLES = sorted((Path(__file__).parents[2] / "docs" / "examples").glob("*.rnn"))
CALLS: list[dict[str, Any]] = [
    {"steps": 4},
    {"steps": 6, "ragged": True, "reset": True},
    {"steps": 2, "reset": True, "carry": True},
]


def compiled(text: str, seed: int, **options: Any) -> CompiledRNN:
    return randomize_parameters(
        rnnc.compile(text, backend="reference", **options).double(), seed
    ).eval()


def fed(model: CompiledRNN, steps: int, seed: int, **marks: bool) -> CallArguments:
    """Make arguments in which no initial value is drawn, if there is a state."""
    arguments = feed(model, steps, 3, seed=seed, **marks)
    drawn = any(state.initial_value.kind == "uniform" for state in model.graph.states)
    if drawn and arguments.state is None and not model.runs_backward:
        # Apart from the parameters: what is learned moves with the state then, and once.
        begin = model.initial_state(3)
        arguments.state = type(begin)(*(value.detach() for value in begin))
    return arguments


def hold(model: CompiledRNN, seed: int, call: dict[str, Any]) -> bool:
    """Check a call against the oracle; return False if it does not support the call."""
    try:
        assert_matches_oracle(model, fed(model, seed=seed, **call), seed=seed)
    except Unsupported as refused:
        if "drawn initial value" not in str(refused):
            raise
        return False
    return True


def hold_all(model: CompiledRNN, seed: int) -> int:
    held = sum(hold(model, seed, call) for call in CALLS)
    if (model.graph.laws or model.graph.loss_graph) and not is_random(model):
        model.train()
        held += sum(hold(model, seed, call) for call in CALLS)
    return held


@pytest.mark.parametrize("name", RARE_SPECS)
def test_rare_specs(name: str) -> None:
    assert hold_all(compiled(RARE_SPECS[name], len(name)), len(name)) >= len(CALLS)


@pytest.mark.parametrize("block", range(4))
def test_random_specs(block: int) -> None:
    held = 0
    for seed in range(700 + 6 * block, 706 + 6 * block):
        spec = random_spec(seed)
        held += hold_all(compiled(spec.text, seed, parameters=spec.sizes), seed)
    assert held >= 6


@pytest.mark.parametrize("name", zoo_names())
def test_the_zoo(name: str) -> None:
    text = (ZOO / f"{name}.rnn").read_text(encoding="utf-8")
    model = compiled(text, 1, parameters=small_sizes(name))
    assert hold(model, 1, {"steps": 4, "ragged": True, "carry": True})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples(path: Path) -> None:
    assert hold(compiled(path.read_text(encoding="utf-8"), 2), 2, CALLS[0])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("init learned deep", ("t-4", "t-3")),
        ("init learned deep", ("h' ⊙ h", "stopgrad(h') ⊙ h")),
        ("backward", ("g[t+2]", "g[t+1]")),
        ("gaps of two windows", ("t-3..t-1", "t-2..t")),
        ("shared params", ("param b: vector\n", "param c: vector\n")),
        ("laws", ("weight 0.3", "weight 0.2")),
        ("laws", ("(A a + c)", "(A a + 2 * c)")),
    ],
)
def test_a_difference_is_seen(name: str, change: tuple[str, str]) -> None:
    """A different spec than the compiled one must not agree."""
    model = compiled(RARE_SPECS[name], 3)
    if model.graph.laws:
        model.train()
    text = RARE_SPECS[name].replace(*change)
    if name == "laws" and text == RARE_SPECS[name]:
        text = RARE_SPECS[name].replace("= A a + c", "= A a + 2 * c")
    assert text != RARE_SPECS[name]
    object.__setattr__(model._program, "text", text)
    with pytest.raises((AssertionError, Unsupported)):
        assert_matches_oracle(model, fed(model, 5, 3), seed=3)


# By hand, from here on.


def values(*entries: float) -> np.ndarray:
    return np.array(entries, dtype=np.float64)


def test_by_hand_a_network_of_one_unit() -> None:
    text = "input x: real\nstate h: real = 0.5\nh' = tanh(W h + U x)\nx' = V h'\n"
    w, u, v = 0.3, -0.7, 2.0
    parameters = {"W": values(w)[None], "U": values(u)[None], "V": values(v)[None]}
    row = RowArguments({"x": [values(1.0), values(-2.0), values(0.5)]}, [False, False, True])
    answer = evaluate(text, {}, parameters, row, tangents=Tangents({"W": values(1.0)[None]}))
    h1 = math.tanh(w * 0.5 + u)
    h2 = math.tanh(w * h1 - 2 * u)
    h3 = math.tanh(w * 0.5 + 0.5 * u)
    np.testing.assert_allclose(np.ravel(answer.outputs["x'"]), [v * h for h in (h1, h2, h3)])
    np.testing.assert_allclose(answer.state["h"], [[h3]])
    d1 = (1 - h1**2) * 0.5
    d2 = (1 - h2**2) * (h1 + w * d1)
    d3 = (1 - h3**2) * 0.5
    assert answer.tangents is not None
    np.testing.assert_allclose(
        np.ravel(answer.tangents.outputs["x'"]), [v * d for d in (d1, d2, d3)]
    )


def test_by_hand_segments_windows_and_age() -> None:
    text = (
        "input x: real\nstate h: real = 7\noutput y: real\noutput z: real\n"
        "h' = x\nM = h[t-2..t]\ny = h[t-2]\nz = sum(M one)\none = 0 * x + 1\n"
    )
    xs = [values(float(k)) for k in (1, 2, 3, 4)]
    fresh = evaluate(text, {}, {}, RowArguments({"x": xs}, [False, False, False, True]))
    np.testing.assert_array_equal(np.ravel(fresh.outputs["y"]), [7, 7, 1, 7])
    np.testing.assert_array_equal(np.ravel(fresh.outputs["z"]), [1, 3, 6, 4])
    assert (np.ravel(fresh.state["h"]).tolist(), fresh.age) == ([7, 4], 1)
    on = RowArguments({"x": xs[:1]}, [False], {"h": [values(7), values(4)]}, fresh.age)
    after = evaluate(text, {}, {}, on)
    assert (np.ravel(after.outputs["y"]).tolist(), np.ravel(after.outputs["z"]).tolist()) == (
        [7],
        [5],
    )
    assert (np.ravel(after.state["h"]).tolist(), after.age) == ([4, 1], 2)


def test_by_hand_backward_and_at_the_end() -> None:
    text = (
        "input x: real\nstate g: real = 0.5\noutput y: real\noutput e: real at end\n"
        "g[t] = 10 * g[t+1] + x\ny = g'\ne = g[t-1]\n"
    )
    xs = [values(1), values(2), values(3)]
    answer = evaluate(text, {}, {}, RowArguments({"x": xs}, [False, False, True]))
    np.testing.assert_array_equal(np.ravel(answer.outputs["y"]), [71, 7, 8])
    np.testing.assert_array_equal(answer.outputs["e"], [0.5])
    assert answer.state == {}
    nothing = evaluate(text, {}, {}, RowArguments({"x": []}, []))
    np.testing.assert_array_equal(nothing.outputs["e"], [0])
    assert nothing.outputs["y"] == []


def test_by_hand_parameters_tuples_and_templates() -> None:
    text = (
        "operator f(a: real[n], k = 2, width = n) = k * a + V a\n"
        "operator (p, q) ⊗ r = (q, f(p) ⊙ r)\n"
        "operator ◁ = f(k = 3)\n"
        "input x: real[2]\noutput y: real[2]\noutput z: real[2]\n"
        "(a, c) = (x, E x) ⊗ x\ny = a\nz = c + ◁ x\n"
    )
    v, w, e = (
        np.array([[1.0, 2], [3, 4]]),
        np.array([[0.0, 1], [1, 0]]),
        np.array([[2.0, 0], [0, 5]]),
    )
    x = values(1.0, -1.0)
    answer = evaluate(
        text, {}, {"times.f.V": v, "left.V": w, "E": e}, RowArguments({"x": [x]}, [False])
    )
    np.testing.assert_array_equal(answer.outputs["y"][0], e @ x)
    np.testing.assert_array_equal(answer.outputs["z"][0], (2 * x + v @ x) * x + 3 * x + w @ x)


def test_by_hand_laws_and_losses() -> None:
    text = (
        "input x: real[2]\nstate h: real[2]\nh' = x + h\nx' = 2 * h'\n"
        "law W h ≈ x weight 3\nloss dot(h', x') weight 0.5\n"
    )
    w, xs = np.array([[1.0, 2], [0, 1]]), [values(1, 2), values(3, -1)]
    goals = [values(1, 1), values(0, 2)]
    direction = Tangents({"W": np.ones((2, 2))}, {"x": [values(1, 1)] * 2})
    row = RowArguments({"x": xs}, [False, False])
    answer = evaluate(text, {}, {"W": w}, row, tangents=direction, targets={"x": goals})
    h = [values(1, 2), values(4, 1)]
    before = [values(0, 0), h[0]]
    gaps = [w @ before[t] - xs[t] for t in range(2)]
    np.testing.assert_allclose(answer.laws, [[np.mean(gap**2) for gap in gaps]])
    np.testing.assert_allclose(answer.losses, [[h[t] @ goals[t] for t in range(2)]])
    assert (answer.law_weights, answer.loss_weights) == ([3.0], [0.5])
    # What a law is about counts as constant: only W moves.
    assert answer.tangents is not None
    moved = [np.mean(2 * gaps[t] * before[t].sum()) for t in range(2)]
    np.testing.assert_allclose(answer.tangents.laws, [moved])
    np.testing.assert_allclose(answer.tangents.losses, [[goals[0].sum(), 2 * goals[1].sum()]])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("input x: real\nstate h: real = uniform(0, 1)\noutput y: real\nh' = x\ny = h\n", "drawn"),
        ("input x: real\noutput y: real\ny = W x\n", "parameter `W`"),
        ("input x: real\noutput y: real\ny = nothing(x)\n", "nothing"),
        ("input x: real\noutput y: real\ny = z\nz = y2\ny2 = z\n", "cycle"),
        ("input x: real\nstate h: real\noutput y: real\nh' = x\nM = h[t-1..t]\ny = M\n", "Window"),
        ("use mine from here\ninput x: real\noutput y: real\ny = mine(x)\n", "use"),
        ("input x: real\noutput y: real\ny = x'\n", "future"),
    ],
)
def test_what_it_does_not_know_it_refuses(text: str, what: str) -> None:
    with pytest.raises(Unsupported, match=what):
        evaluate(text, {}, {}, RowArguments({"x": [values(1.0)]}, [False]))


def test_it_imports_nothing_that_it_is_held_against() -> None:
    folder = Path(__file__).parents[1] / "support" / "second_oracle"
    for path in folder.glob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith(("import", "from")) and "rnnc" in line:
                assert line == "import rnnc" or line.startswith("from rnnc.grammar"), (path, line)
            assert "torch" not in line.split(), (path, line)


def test_derivatives_are_differences() -> None:
    """Compare the dual numbers with finite differences of the oracle's own values."""
    text = RARE_SPECS["gaps to functions"]
    model = compiled(text, 5)
    arguments = feed(model, 4, 1, seed=5)
    parameters = {k: v.detach().numpy() for k, v in model.state_dict().items()}
    generator = np.random.default_rng(0)
    direction = {k: generator.normal(size=v.shape) for k, v in parameters.items()}
    row = RowArguments({"x": [x.numpy() for x in arguments.inputs["x"][:, 0]]}, [False] * 4)
    exact = evaluate(text, {}, parameters, row, tangents=Tangents(direction)).tangents
    step = 1e-5
    ahead, behind = (
        evaluate(text, {}, {k: v + s * direction[k] for k, v in parameters.items()}, row)
        for s in (step, -step)
    )
    assert exact is not None
    for t in range(4):
        difference = (ahead.outputs["y"][t] - behind.outputs["y"][t]) / (2 * step)
        np.testing.assert_allclose(exact.outputs["y"][t], difference, rtol=1e-6, atol=1e-8)
