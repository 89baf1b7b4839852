"""Check that `torch.compile(model, fullgraph=True)` equals eager mode bit for bit."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import rnnc
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from support.comparison.available_backends import AVAILABLE_BACKENDS

TEXT = """
input x: real[3]
input s: symbol[5]
state h: real[4] = learned
state c: real[4] = uniform(-1, 1)
param W: weightdrop(0.2)
output y: real[2]
output z: binary[2] at end
h' = tanh(W dropout(0.3, h) + U x[t-2] + E s[t-1] + b)
c' = 0.5 * c + zoneout(0.2, h', h)
y = V [h' ; c'] + b2
z = Q c'
"""
SIMPLE = """
input x: real[3]
state h: real[4]
output y: real[2]
h' = tanh(W h + U x + b)
y = V h'
"""

# Torch's tracer warns of what it does itself.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def model(text: str = TEXT, backend: str = "auto", **said: Any) -> CompiledRNN:
    torch.manual_seed(0)
    return rnnc.compile(text, backend=backend, **said)


def graphs() -> int:
    assert not torch._dynamo.utils.counters["graph_break"]
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def test_nll_is_traced_as_one_graph():
    text = "input x: binary[3]\ninput s: symbol[5]\nstate h: real[4]\nh' = tanh(W h + U x + E s)\n"
    net = model(text + "x' = ▷ h'\ns' = ▷₂ h'")
    x = {"x": (torch.rand(6, 4, 3) < 0.5).float(), "s": torch.randint(-1, 5, (6, 4))}
    resets, lengths = torch.rand(6, 4) < 0.2, torch.tensor([6, 0, 3, 5])
    options = {"lengths": lengths, "resets": resets, "weight": torch.rand(6, 4)}
    _, carry = net.nll(x)
    expected, after = net.nll(x, carry, **options)

    def piece(x: Any, carry: Any) -> tuple[Tensor, Any]:
        loss, after = net.nll(x, carry, **options)
        return loss, after.detach()

    actual, second = torch.compile(piece, fullgraph=True, backend="eager")(x, carry)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(second.state, after.state)
    torch.testing.assert_close(second.x, after.x)
    assert graphs() == 1


def feed(steps: int, rows: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(steps, rows, 3), torch.randint(-1, 5, (steps, rows))


def everything(net: CompiledRNN, call: Callable[..., Any], steps: int, rows: int) -> list[Tensor]:
    """Outputs, states and gradients of a step with lengths, resets, carried state and chance."""
    x, s = feed(steps, rows)
    x.requires_grad_()
    torch.manual_seed(2)
    state = net.initial_state(rows)
    state = type(state)(*(p.detach().clone().requires_grad_(p.is_floating_point()) for p in state))
    net.zero_grad()
    (y, z), after = call(
        {"x": x, "s": s},
        state,
        lengths=torch.tensor([steps, 1, 0, 2][:rows]),
        resets=torch.arange(steps * rows).view(steps, rows) % 5 == 1,
    )
    (y.square().sum() + z.sum() + after.h.sum() + after.x.square().sum()).backward()
    sources = [x, *(p for p in state if p.is_floating_point()), *net.parameters()]
    assert all(source.grad is not None for source in sources)
    return [y, z, *after, *(s.grad for s in sources if s.grad is not None)]


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
@pytest.mark.parametrize("training", [True, False])
def test_eager_numbers_for_any_size_from_two_graphs(backend: str, training: bool) -> None:
    net = model(backend=backend).train(training)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    for steps, rows in ((5, 3), (6, 4), (9, 3), (4, 2)):
        expected = everything(net, net, steps, rows)
        actual = everything(net, compiled, steps, rows)
        assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))
    assert graphs() == 2  # the first sizes that are met, then any


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
def test_a_loop_of_training_steps_stays_on_the_eager_path(backend: str) -> None:
    nets = [model(SIMPLE, backend) for _ in range(2)]
    runs = [nets[0], torch.compile(nets[1], fullgraph=True, backend="aot_eager")]
    x = feed(5, 2)[0]
    for net, run in zip(nets, runs, strict=True):
        optimiser = torch.optim.SGD(net.parameters(), 0.1)
        for _ in range(3):
            optimiser.zero_grad()
            run(x)[0].square().mean().backward()
            optimiser.step()
    pairs = zip(nets[0].parameters(), nets[1].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
def test_without_gradients_and_without_steps(backend: str) -> None:
    net = model(SIMPLE, backend)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    for steps, rows in ((4, 2), (0, 2), (3, 0)):
        x = torch.randn(steps, rows, 3)
        with torch.no_grad():
            (y, state), (y_, state_) = net(x), compiled(x)
        assert torch.equal(y, y_)
        assert torch.equal(state.h, state_.h)


def test_generated_code_around_a_call_reads_its_results() -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.core, self.last = model(SIMPLE), torch.nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.last(torch.relu(self.core(x * 2.0)[0])).sum()
            return out

    net = Net()
    compiled = torch.compile(net, fullgraph=True)
    x = feed(5, 2)[0]
    actual = [compiled(x)]
    actual[0].backward()
    actual += [p.grad.clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    expected = [net(x)]
    expected[0].backward()
    expected += [p.grad for p in net.parameters() if p.grad is not None]
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_laws_of_a_compiled_call_enter_the_loss() -> None:
    net = model(SIMPLE + "law h' ≈ h weight 0.5\n")
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    x, target = feed(5, 2)[0], torch.zeros(5, 2, 2)
    expected = net.loss(net(x)[0], target)
    actual = net.loss(compiled(x)[0], target)
    assert torch.equal(actual, expected)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({"s": torch.full((5, 2), 5)}, "input s: expected symbols from 0 to 4"),
        ({"lengths": torch.tensor([6, 1])}, "lengths: expected values from 0 to 5, got 6"),
        ({"lengths": torch.tensor([2, -1])}, "lengths: expected values from 0 to 5, got -1"),
    ],
)
def test_numbers_out_of_range_are_refused_when_a_graph_runs(
    said: dict[str, Tensor], wanted: str
) -> None:
    net = model()
    x, s = feed(5, 2)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    with pytest.raises(ValueError, match=wanted):
        compiled((x, said.get("s", s)), lengths=said.get("lengths"))


def test_a_second_derivative_of_a_compiled_call_is_refused() -> None:
    net = model(SIMPLE)
    x = feed(3, 1)[0].requires_grad_()
    y, _ = torch.compile(net, fullgraph=True, backend="aot_eager")(x)
    with pytest.raises(RuntimeError, match=r"create_graph=False|double backward"):
        torch.autograd.grad(y.sum(), x, create_graph=True)[0].sum().backward()


def test_what_torch_asks_of_an_operator() -> None:
    from rnnc.compiler.torch_integration.custom_op import forward_op

    net = model(SIMPLE)
    x = feed(3, 2)[0]
    sources = [*dict(net.named_parameters()).values(), x, torch.zeros(1, 2, 4), torch.zeros(2, 4)]
    names = [f"parameter {name}" for name, _ in net.named_parameters()]
    names += ["input x", "history h", "initial h"]
    for wanted in ([], list(range(len(sources)))):
        options = (sources, net._model_key, "\n".join(names), True, wanted)
        torch.library.opcheck(
            forward_op, options, test_utils=("test_schema", "test_autograd_registration")
        )


@pytest.mark.parametrize("strict", [True, False])
def test_torch_export_keeps_the_operator(strict: bool) -> None:
    class Outputs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.core = model(SIMPLE)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.core(x)[0]
            return y

    net = Outputs().eval()
    steps, rows = torch.export.Dim("T"), torch.export.Dim("B")
    program = torch.export.export(
        net, (feed(5, 2)[0],), dynamic_shapes=({0: steps, 1: rows},), strict=strict
    )
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    x = feed(7, 3)[0]
    assert torch.equal(torch.export.load(file).module()(x), net(x))
