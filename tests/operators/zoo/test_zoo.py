"""Models of the zoo: the properties of every model, and those of their papers."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor

import rnnc
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.operators.analysis.depth import measure_depth
from rnnc.operators.analyze import analyze, check, zoo_parameters
from rnnc.operators.sources.zoo import zoo_names, zoo_source

SMALL = {
    "hidden": 12,
    "width": 10,
    "output_width": 11,
    "notes": 7,
    "embed": 8,
    "granule": 16,
    "purkinje": 9,
    "links": 3,
    "window": 4,
    "classes": 4,
    "inputs": 2,
}
STEPS, ROWS = 9, 5
CASES = [
    (name, vocab)
    for name in zoo_names()
    for vocab in (0, 9)
    if "vocab" in zoo_parameters(name) or not vocab
]


def sizes_of(name: str, vocab: int = 0) -> dict[str, int | float]:
    """Return small sizes for a zoo model, of symbols if `vocab` is not zero."""
    parameters = zoo_parameters(name)
    sizes = {key: value for key, value in SMALL.items() if key in parameters}
    if vocab or parameters.get("vocab"):
        sizes["vocab"] = vocab or 9
    return sizes


def small(name: str, vocab: int = 0) -> CompiledRNN:
    torch.manual_seed(0)
    return rnnc.compile(f"zoo:{name}", parameters=sizes_of(name, vocab))


def example(type_: object, shape: tuple[int, ...]) -> Tensor:
    match type_.kind:
        case "symbol":
            return torch.randint(0, type_.size, shape)
        case "binary":
            return (torch.rand(*shape, type_.size) < 0.3).float()
        case _:
            return torch.randn(*shape, type_.size)


def batch(model: CompiledRNN) -> tuple[Tensor, Tensor]:
    """Random inputs, and the targets that the model's output asks for."""
    torch.manual_seed(1)
    (variable,), (output,) = model.graph.inputs, model.graph.outputs
    if output.predicted_input:
        line = example(variable.type, (STEPS + 1, ROWS))
        return line[:-1], line[1:]
    shape = (ROWS,) if output.at_end else (STEPS, ROWS)
    return example(variable.type, (STEPS, ROWS)), example(output.type, shape)


@pytest.mark.parametrize(("name", "vocab"), CASES)
def test_checks_without_a_word(name, vocab):
    assert check(zoo_source(name)) == ()
    assert check(zoo_source(name), parameters=sizes_of(name, vocab)) == ()


@pytest.mark.parametrize("name", zoo_names())
def test_every_parameter_of_a_model_has_a_default(name):
    assert None not in zoo_parameters(name).values()


@pytest.mark.parametrize(("name", "vocab"), CASES)
def test_every_trainable_parameter_gets_a_gradient(name, vocab):
    model = small(name, vocab)
    x, target = batch(model)
    y, _ = model(x)
    model.loss(y, target).backward()
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key
            assert parameter.grad.abs().max() > 0, key
        else:
            assert parameter.grad is None, key


@pytest.mark.parametrize(("name", "vocab"), CASES)
def test_twenty_steps_lower_the_loss_and_leave_frozen_weights_alone(name, vocab):
    model = small(name, vocab)
    x, target = batch(model)
    frozen = {k: v.clone() for k, v in model.named_parameters() if not v.requires_grad}

    def loss() -> float:
        # Initial values may be drawn: the same ones each time.
        torch.manual_seed(2)
        with torch.no_grad():
            return model.eval().loss(model(x)[0], target).item()

    before = loss()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for _ in range(20):
        model.train()
        optimizer.zero_grad()
        model.loss(model(x)[0], target).backward()
        optimizer.step()
    assert loss() < before
    for key, value in frozen.items():
        assert torch.equal(model.state_dict()[key], value), key


@pytest.mark.parametrize(("name", "vocab"), CASES)
def test_two_parts_are_the_whole(name, vocab):
    model = small(name, vocab).double().eval()
    x, _ = batch(model)
    x = x.double() if x.is_floating_point() else x
    if model.runs_backward:
        with pytest.raises(ValueError, match="backward in time"):
            model.initial_state(ROWS)
        return
    torch.manual_seed(3)
    whole, last = model(x)
    for cut in (1, 4, STEPS):
        torch.manual_seed(3)
        first, state = model(x[:cut])
        second, end = model(x[cut:], state)
        at_end = model.graph.outputs[0].at_end
        parts = (second if cut < STEPS else first) if at_end else torch.cat([first, second])
        torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-12)
        for a, b in zip(end, last, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in zoo_names() if "layers" in zoo_parameters(n)])
@pytest.mark.parametrize("layers", [1, 5])
def test_layers_is_a_parameter(name, layers):
    graph = analyze(
        zoo_source(name), parameters={**sizes_of(name), "layers": layers}
    ).require_graph()
    other = analyze(zoo_source(name), parameters={**sizes_of(name), "layers": 3}).require_graph()
    assert (layers < 3) == (len(graph.parameters) < len(other.parameters))
    assert rnnc.compile(f"zoo:{name}", parameters={**sizes_of(name), "layers": layers})


# Pascanu et al. 2014, table 1: weights without biases, which the paper does not count.
TABLE_1 = [
    # data, notes, symbols, then units and weights of rnn, dts_rnn, dots_rnn, srnn
    ("Nottingham", 88, 0, (600, 465_600), (400, 585_600), (400, 745_600), (400, 550_400)),
    ("JSB Chorales", 88, 0, (200, 75_200), (400, 585_600), (400, 745_600), (400, 550_400)),
    ("MuseData", 88, 0, (600, 465_600), (400, 585_600), (400, 745_600), (600, 1_185_600)),
    ("PTB char", 88, 50, (600, 420_000), (400, 540_000), (400, 790_000), (400, 520_000)),
    (
        "PTB word",
        88,
        10_000,
        (200, 4_040_000),
        (200, 6_120_000),
        (200, 6_160_000),
        (400, 8_480_000),
    ),
]
SCORED = ("rnn", "dts_rnn", "dots_rnn", "srnn")


@pytest.mark.parametrize(
    ("data", "name", "notes", "vocab", "units", "weights"),
    [
        (row[0], name, row[1], row[2], *sizes)
        for row in TABLE_1
        for name, sizes in zip(SCORED, row[3:], strict=True)
    ],
)
def test_table_1(data, name, notes, vocab, units, weights):
    sizes = {"hidden": units, "notes": notes, "vocab": vocab}
    if (data, name) == ("PTB char", "dots_rnn"):
        sizes["output_width"] = 600
    graph = analyze(zoo_source(name), parameters=sizes).require_graph()
    assert sum(p.numel for p in graph.parameters if p.is_matrix) == weights


@pytest.mark.parametrize(
    ("name", "recurrent", "feedforward", "skip"),
    [
        ("rnn", 1, 2, 1),
        ("dt_rnn", 2, 3, Fraction(1, 2)),
        ("dts_rnn", 2, 3, 1),
        ("do_rnn", 1, 3, 1),
        ("dots_rnn", 2, 4, 1),
        ("srnn", 1, 3, 1),
    ],
)
def test_depths_are_those_of_zhang_et_al(name, recurrent, feedforward, skip):
    # Zhang et al. 2016, arXiv 1602.08210: stacking deepens forward, transitions deepen over
    # time, and a shortcut brings the skip coefficient back.
    measures = measure_depth(analyze(zoo_source(name)).require_graph())
    depths = (measures.recurrent_depth, measures.feedforward_depth, measures.skip_coefficient)
    assert depths == (recurrent, feedforward, skip)


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_depths_grow_with_layers_as_pascanu_et_al_define_them(layers):
    def places(name: str, **more: int) -> tuple[int, int, int]:
        depth = measure_depth(
            analyze(zoo_source(name), parameters={"layers": layers, **more}).require_graph()
        )
        return depth.input_to_hidden, depth.hidden_to_hidden, depth.hidden_to_output

    assert places("di_rnn") == (layers + 1, 1, 1)
    assert places("dt_rnn") == (layers, layers, 1)
    assert places("do_rnn") == (1, 1, layers)
    assert places("dots_rnn", output_layers=3) == (layers, layers, 3)
    assert places("srnn") == (layers, 1, 1)
    assert places("rhn") == (layers, layers, 1)


def test_a_frozen_core_stays_while_the_rest_learns():
    torch.manual_seed(0)
    sizes = {**sizes_of("cb_rnn"), "frozen_core": 1}
    trained = small("cb_rnn")
    model = rnnc.compile("zoo:cb_rnn", parameters=sizes)
    model.load_state_dict(trained.state_dict())
    x, target = batch(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.1, nesterov=True)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        torch.manual_seed(3)
        loss = model.loss(model(x)[0], target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    moved = {
        key for key, value in model.state_dict().items() if not torch.equal(value, before[key])
    }
    assert moved == {key for key in before if not key.startswith("core.")}
    assert sum(key.startswith("core.") for key in before) == 4


def test_the_cerebellum_counts_as_in_the_authors_code():
    # Voce et al. 2026, results of the authors' code: 37,504 in the cerebellum, 41,922 in all.
    graph = analyze(zoo_source("cb_rnn")).require_graph()
    count = sum(p.numel for p in graph.parameters if p.name.startswith("cerebellum."))
    assert (count, sum(p.numel for p in graph.parameters)) == (37_504, 41_922)
