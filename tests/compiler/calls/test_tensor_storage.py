"""Check tensors that are more than their memory: read right, or rejected by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

import rnnc
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from support.comparison.assertions import assert_close
from support.comparison.available_backends import AVAILABLE_BACKENDS

TEXT = """
input x: real[3]
state h: real[4] = learned
state c: real[4]
output y: real[2]
h' = tanh(W h + U x + b)
c' = 0.5 * c + h' + Q x[t-2]
y = V [h' ; c'] + b2
"""
TOLERANCE = 1e-12

pytestmark = pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)


class Wrapped(Tensor):
    """Holds a tensor, and has no numbers itself."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Wrapped:
        wrapper = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.shape, dtype=inner.dtype, requires_grad=inner.requires_grad
        )
        wrapper.inner = inner
        return wrapper  # type: ignore[no-any-return]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def wrap(value: Any) -> Any:
            return Wrapped(value) if type(value) is Tensor else value

        return tree_map(wrap, func(*tree_map(bare, args), **tree_map(bare, kwargs or {})))


def bare(value: Any) -> Any:
    return value.inner if isinstance(value, Wrapped) else value


def interleaved(value: Tensor) -> Tensor:
    """The imaginary part of a conjugate: between other numbers, its sign a bit."""
    return torch.complex(torch.zeros_like(value), -value).conj().imag


GUISES: dict[str, Callable[[Tensor], Tensor]] = {
    "a negative": lambda value: torch._neg_view(-value),
    "of a conjugate": interleaved,
    "zeros that are nowhere": lambda value: torch._efficientzerotensor(
        value.shape, dtype=value.dtype
    ),
    "wrapped": Wrapped,
    "turned round": lambda value: value.mT.contiguous().mT if value.dim() > 1 else value,
    "with a gap": lambda value: torch.stack([value, value], -1)[..., 0],
    "one row for all": lambda value: value[:1].expand_as(value),
}


def model(backend: str) -> CompiledRNN:
    torch.manual_seed(0)
    net = rnnc.compile(TEXT, backend=backend).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return net


def arguments() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {"x": (5, 2, 3), "h": (2, 4), "c": (2, 4), "past": (2, 2, 3), "gradient": (5, 2, 2)}
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64)
        for name, shape in shapes.items()
    }


def results(net: CompiledRNN, given: dict[str, Tensor], *, learning: bool) -> list[Tensor]:
    """Outputs, states and, in learning, the gradients of all arguments and parameters."""
    state = (given["h"], given["c"], given["past"])
    with torch.set_grad_enabled(learning):
        y, after = net(given["x"], state)
    tensors = [y, *after]
    if learning:
        sources = [*net.parameters(), given["x"], *state]
        sources = [source for source in sources if source.requires_grad]
        tensors += torch.autograd.grad(y, sources, given["gradient"], materialize_grads=True)
    return [bare(value) for value in tensors]


PLACES = ("x", "h", "c", "past", "gradient", "W", "b", "init.h")


@pytest.mark.parametrize("guise", GUISES)
@pytest.mark.parametrize("learning", [True, False])
def test_whatever_it_is_gives_its_numbers(backend: str, guise: str, learning: bool) -> None:
    disguised = GUISES[guise]
    for place in PLACES:
        if place == "gradient" and not learning:
            continue
        net, reference = model(backend), model("reference")
        call_arguments, same = arguments(), arguments()
        for _ in range(2):  # so that a short way is known
            results(net, call_arguments, learning=learning)
        if place in call_arguments:
            call_arguments[place] = disguised(call_arguments[place])
            same[place] = torch.as_tensor(bare(call_arguments[place]) + 0.0)
        else:
            path, _, name = place.rpartition(".")
            value = disguised(net.get_parameter(place).detach())
            net.get_submodule(path)._parameters[name] = nn.Parameter(value)
            with torch.no_grad():
                reference.get_parameter(place).copy_(torch.as_tensor(bare(value) + 0.0))
        expected = results(reference, same, learning=learning)
        for _ in range(3):
            actual = results(net, call_arguments, learning=learning)
            assert_close(actual, expected, TOLERANCE, f"{place}, {guise}")


def test_a_wrong_sign_would_be_seen(backend: str) -> None:
    net, call_arguments = model(backend), arguments()
    expected = results(net, call_arguments, learning=True)
    call_arguments["x"] = -call_arguments["x"]
    with pytest.raises(AssertionError, match="off by"):
        assert_close(results(net, call_arguments, learning=True), expected, TOLERANCE)


NAMES = {
    "x": "input x",
    "h": "state.h",
    "past": "state.x",
    "W": "parameter W",
    "b2": "parameter b2",
    "init.h": "parameter init.h",
}


@pytest.mark.parametrize("place", NAMES)
@pytest.mark.parametrize("left", [0, 8])
def test_memory_that_is_gone_is_named(backend: str, place: str, left: int) -> None:
    for learning in (True, False):
        for calls in (0, 2):
            net, call_arguments = model(backend), arguments()
            for _ in range(calls):
                results(net, call_arguments, learning=learning)
            gone = call_arguments[place] if place in call_arguments else net.get_parameter(place)
            gone.untyped_storage().resize_(left)
            for call in (
                lambda net=net, call_arguments=call_arguments: results(
                    net, call_arguments, learning=False
                ),
                lambda net=net, call_arguments=call_arguments: results(
                    net, call_arguments, learning=True
                ),
            ):
                with pytest.raises(ValueError, match=rf"^{NAMES[place]}: expected .* {left} bytes"):
                    call()


@pytest.mark.parametrize("place", ["x", "W", "b2", "gradient"])
def test_memory_that_is_gone_before_the_backward_pass_is_named(backend: str, place: str) -> None:
    if backend == "reference":
        pytest.skip("autograd's own nodes read what they have saved")
    net, call_arguments = model(backend), arguments()
    x = call_arguments["x"].requires_grad_()
    y, _ = net(x)
    gone = call_arguments[place] if place in call_arguments else net.get_parameter(place)
    gone.untyped_storage().resize_(0)
    name = NAMES.get(place, "gradient of output y" if place == "gradient" else f"parameter {place}")
    with pytest.raises(ValueError, match=rf"^{name}: expected .* 0 bytes"):
        y.backward(call_arguments["gradient"])


def test_tables_lengths_resets_and_targets_without_memory_are_named(backend: str) -> None:
    net = rnnc.compile(
        "input s: symbol[5]\nstate h: real[3]\noutput y: symbol[4]\n"
        "h' = tanh(W h + U s)\ny = V h'\n",
        backend=backend,
    )
    call_arguments = {
        "input s": torch.randint(5, (4, 2)),
        "lengths": torch.tensor([4, 2]),
        "resets": torch.zeros(4, 2, dtype=torch.bool),
        "target for y": torch.randint(4, (4, 2)),
    }

    def call() -> None:
        y, _ = net(
            call_arguments["input s"],
            lengths=call_arguments["lengths"],
            resets=call_arguments["resets"],
        )
        net.loss(y, call_arguments["target for y"])

    call()
    for name, tensor in call_arguments.items():
        before = tensor.clone()
        tensor.untyped_storage().resize_(0)
        with pytest.raises(ValueError, match=f"^{name}: expected .* 0 bytes"):
            call()
        call_arguments[name] = before


def test_other_layouts_are_refused_by_name(backend: str) -> None:
    for place in ("x", "h", "W", "resets"):
        net, call_arguments = model(backend), arguments()
        resets = torch.zeros(5, 2, dtype=torch.bool)
        if place == "resets":
            resets = resets.to_sparse()
        elif place in call_arguments:
            call_arguments[place] = call_arguments[place].to_sparse()
        else:
            net._parameters[place] = nn.Parameter(net.get_parameter(place).detach().to_sparse())
        name = {**NAMES, "resets": "resets"}[place]
        with pytest.raises(ValueError, match=f"^{name}: expected a dense tensor, got .*sparse"):
            net(
                call_arguments["x"],
                (call_arguments["h"], call_arguments["c"], call_arguments["past"]),
                resets=resets,
            )


def test_a_sparse_gradient_is_read(backend: str) -> None:
    if backend == "reference":
        pytest.skip("autograd's own nodes do not take one")
    net, call_arguments = model(backend), arguments()
    x, gradient = call_arguments["x"].requires_grad_(), call_arguments["gradient"]
    y, _ = net(x)
    expected = torch.autograd.grad(y, x, gradient, retain_graph=True)
    assert_close(torch.autograd.grad(y, x, gradient.to_sparse()), expected, 0.0)


@pytest.mark.parametrize("again", [True, False])
def test_gradients_of_what_was_made_of_another_one_are_counted_once(
    backend: str, again: bool
) -> None:
    """A learned initial value is made of a parameter, a carried state of the call before."""

    def found(name: str) -> list[Tensor]:
        net, call_arguments = model(name), arguments()
        sources = list(net.parameters())
        x = call_arguments["x"].requires_grad_()
        _, state = net(x)
        y, _ = net(x, state)
        gradients = torch.autograd.grad(
            y, [*sources, x], call_arguments["gradient"], create_graph=again
        )
        if not again:
            return list(gradients)
        norm = sum((g.square().sum() for g in gradients), torch.zeros(()))
        return [*gradients, *torch.autograd.grad(norm, [*sources, x], materialize_grads=True)]

    assert_close(found(backend), found("reference"), 1e-10)


def test_many_gradients_at_once(backend: str) -> None:
    net, call_arguments = model(backend), arguments()
    x = call_arguments["x"].requires_grad_()
    y, _ = net(x)
    gradients = torch.randn(4, *y.shape, dtype=y.dtype)
    (actual,) = torch.autograd.grad(y, x, gradients, retain_graph=True, is_grads_batched=True)
    expected = [torch.autograd.grad(y, x, gradient, retain_graph=True)[0] for gradient in gradients]
    assert_close(actual, torch.stack(expected), TOLERANCE)
