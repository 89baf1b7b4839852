"""Compare backends with the reference in common uses of a torch module."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

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
X = torch.randn(5, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

# Torch's forward mode compiles its own rules in a way that it deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


def model(backend: str) -> CompiledRNN:
    torch.manual_seed(0)
    net = rnnc.compile(TEXT, backend=backend).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return net


def learned(net: CompiledRNN, y: Tensor, *more: Tensor) -> list[Tensor]:
    sources = [p for p in (*net.parameters(), *more) if p.requires_grad]
    return [y, *torch.autograd.grad(y.square().sum(), sources, materialize_grads=True)]


def inference_then_training(net: CompiledRNN) -> list[Tensor]:
    with torch.inference_mode():
        state = net(X)[1]
    return learned(net, net(X, tuple(part.clone() for part in state))[0])


def gradients_switched_on_and_off(net: CompiledRNN) -> list[Tensor]:
    results: list[Tensor] = []
    for all_of_them in (True, False, True):
        for index, parameter in enumerate(net.parameters()):
            parameter.requires_grad_(all_of_them or index % 2 == 0)
        results += learned(net, net(X)[0])
    return results


def weights_swapped_by_data(net: CompiledRNN) -> list[Tensor]:
    weight = net.get_parameter("W")
    with torch.no_grad():
        for _ in range(3):
            net(X)
        weight.data = weight.data.t()
        results = [net(X)[0]]
    return [*results, *learned(net, net(X)[0])]


def one_row_for_all(net: CompiledRNN) -> list[Tensor]:
    x, weight = X[:1, :1].clone().requires_grad_(), X[0, 0, :1].repeat(4).requires_grad_()
    values = {"W": weight.expand(4, 4)}
    y = torch.func.functional_call(net, values, (x.expand(5, 3, 3),))[0]
    unit = torch.ones((), dtype=y.dtype).expand_as(y)
    return [y, *torch.autograd.grad(y, [x, weight, net.get_parameter("U")], unit)]


def garbage_past_lengths(net: CompiledRNN) -> list[Tensor]:
    x = X.clone()
    x[3:, 1], x[1:, 2] = float("nan"), float("inf")
    x.requires_grad_()
    return learned(net, net(x, lengths=[5, 3, 1])[0], x)


def streaming_in_place(net: CompiledRNN) -> list[Tensor]:
    results: list[Tensor] = []
    for learning in (True, False):
        state = None
        with torch.set_grad_enabled(learning):
            for x in (*X, *X):
                y, state = net.step(x, state)
                state.h[0].zero_()
                results.append(y.relu_())
                state.x.mul_(2)
    return [*results, *learned(net, torch.stack(results[:10]))]


def jacobians(net: CompiledRNN) -> list[Tensor]:
    def run(x: Tensor) -> Tensor:
        y: Tensor = net(x)[0]
        return y

    jacobian, x = torch.autograd.functional.jacobian, X[:2]
    return [
        jacobian(run, x),
        jacobian(run, x, vectorize=True),
        jacobian(run, x, vectorize=True, strategy="forward-mode"),
        torch.func.jacrev(run)(x),
        torch.autograd.functional.hvp(lambda x: run(x).square().sum(), x, x)[1],
    ]


def an_ensemble(net: CompiledRNN) -> list[Tensor]:
    twins = [copy.deepcopy(net) for _ in range(3)]
    for index, twin in enumerate(twins):
        twin.get_parameter("W").data.mul_(index)
    values, _ = torch.func.stack_module_state(twins)  # type: ignore[arg-type]
    run = torch.vmap(lambda values: torch.func.functional_call(net, values, (X,))[0])
    return [run(values)]


def selective_checkpoints(net: CompiledRNN) -> list[Tensor]:
    options = partial(
        create_selective_checkpoint_contexts,
        lambda *_, **__: CheckpointPolicy.PREFER_RECOMPUTE,
    )
    y = checkpoint(lambda x: net(x)[0], X, use_reentrant=False, context_fn=options)
    return learned(net, y)


def saved_elsewhere(net: CompiledRNN) -> list[Tensor]:
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: tensor.numpy(force=True).copy(), torch.from_numpy
    ):
        y = net(X)[0]
    return learned(net, y)


def clipped_training(net: CompiledRNN) -> list[Tensor]:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimiser = torch.optim.Adam(net.parameters(), 0.1)
    for _ in range(3):
        optimiser.zero_grad()
        scaler.scale(net(X)[0].square().mean()).backward()
        scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        scaler.step(optimiser)
        scaler.update()
    return [parameter.detach() for parameter in net.parameters()]


USES: dict[str, Callable[[CompiledRNN], list[Tensor]]] = {
    use.__name__: use
    for use in (
        inference_then_training,
        gradients_switched_on_and_off,
        weights_swapped_by_data,
        one_row_for_all,
        garbage_past_lengths,
        streaming_in_place,
        jacobians,
        an_ensemble,
        selective_checkpoints,
        saved_elsewhere,
        clipped_training,
    )
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
def test_every_backend_gives_what_the_reference_gives(backend: str, use: str) -> None:
    assert_close(USES[use](model(backend)), USES[use](model("reference")), 1e-9, use)


def test_another_weight_would_be_seen() -> None:
    net = model("reference")
    expected = learned(net, net(X)[0])
    with torch.no_grad():
        net.get_parameter("W").add_(1e-6)
    with pytest.raises(AssertionError, match="off by"):
        assert_close(learned(net, net(X)[0]), expected, 1e-9)
