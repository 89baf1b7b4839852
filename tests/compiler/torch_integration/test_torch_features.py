"""Check modules on every backend: copies, threads, autocast, DDP, torch.func."""

from __future__ import annotations

import copy
import io
import os
import pickle  # noqa: TID251
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

import rnnc
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from support.comparison.available_backends import AVAILABLE_BACKENDS
from support.processes.commands import ROOT

TEXT = """
input x: real[3]
state h: real[4] = learned
state c: real[4]
output y: real[2]
h' = tanh(W h + U x + b)
c' = 0.5 * c + h'
y = V [h' ; c'] + b2
"""

pytestmark = [
    pytest.mark.parametrize("backend", AVAILABLE_BACKENDS),
    # Torch's forward mode compiles its own rules in a way that it deprecates.
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
]


def model(backend: str) -> CompiledRNN:
    torch.manual_seed(0)
    return rnnc.compile(TEXT, backend=backend)


def feed() -> Tensor:
    return torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(1))


def gradients(net: torch.nn.Module, x: Tensor) -> dict[str, Tensor]:
    net.zero_grad()
    net(x)[0].square().sum().backward()
    by_name = {name: p.grad for name, p in net.named_parameters()}
    return {name: g.clone() for name, g in by_name.items() if g is not None}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert len(found) == 6
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_copies_and_pickles_compute_the_same(backend: str) -> None:
    net, x = model(backend), feed()
    expected = gradients(net, x)
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    for twin in (
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        torch.load(file, weights_only=False),
    ):
        assert twin.backend == net.backend
        assert torch.equal(twin(x)[0], net(x)[0])
        assert_same(gradients(twin, x), expected)


def test_weights_go_from_backend_to_backend(backend: str) -> None:
    net, x = model(backend), feed()
    second = rnnc.compile(TEXT, backend="reference")
    assert second.load_state_dict(net.state_dict(), strict=True)
    torch.testing.assert_close(second(x)[0], net(x)[0])
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(1.5)
    net.load_state_dict(second.state_dict())
    assert all(torch.equal(net.state_dict()[k], v) for k, v in second.state_dict().items())
    torch.testing.assert_close(net(x)[0], second(x)[0])


def test_threads_share_a_model(backend: str) -> None:
    net, x = model(backend), feed()
    actual: list[dict[str, Tensor] | None] = [None] * 4

    def work(index: int) -> None:
        y = net(x)[0]
        sources = list(net.parameters())
        thread_gradients = torch.autograd.grad(y.square().sum(), sources)
        actual[index] = {"y": y, **{str(i): g for i, g in enumerate(thread_gradients)}}

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = actual[0]
    assert first is not None
    for second in actual[1:]:
        assert second is not None
        assert all(torch.equal(second[k], v) for k, v in first.items())


def test_two_runs_give_the_same_bits(backend: str) -> None:
    assert_same(gradients(model(backend), feed()), gradients(model(backend), feed()))


def test_autocast_computes_in_the_parameters_dtype(backend: str) -> None:
    net, x = model(backend), feed()
    expected = gradients(net, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = net(x)
        assert y.dtype == state.h.dtype == torch.float32
        assert torch.equal(net(x.bfloat16())[0], net(x.bfloat16().float())[0])
    assert torch.equal(y, net(x)[0])
    net.zero_grad()
    y.square().sum().backward()
    assert_same({n: p.grad for n, p in net.named_parameters() if p.grad is not None}, expected)


def test_parametrised_and_pruned_weights_are_read(backend: str) -> None:
    net, plain_net, x = model(backend), model(backend), feed()
    parametrizations.weight_norm(net, "W")
    prune.l1_unstructured(net, "V", 0.5)
    with torch.no_grad():
        mask = net.get_buffer("V_mask")
        plain_net.get_parameter("V").mul_(mask)
    expected = gradients(plain_net, x)
    assert torch.allclose(net(x)[0], plain_net(x)[0], atol=1e-6)
    net(x)[0].square().sum().backward()
    actual = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    torch.testing.assert_close(actual["U"], expected["U"])
    torch.testing.assert_close(actual["V_orig"], expected["V"] * mask)
    assert actual["parametrizations.W.original1"].norm() > 0


def test_parameters_that_do_not_fit_are_refused(backend: str) -> None:
    x = feed()
    for grad in (True, False):
        net = model(backend)
        with torch.set_grad_enabled(grad):
            for _ in range(3):
                net(x)
            net.V = torch.nn.Parameter(torch.zeros(2, 2))
            with pytest.raises(ValueError, match=r"expected `V` of shape \[2, 8\], got \[2, 2\]"):
                net(x)
            net.V = torch.nn.Parameter(torch.zeros(2, 8, dtype=torch.float16))
            with pytest.raises(ValueError, match=r"got `V` in torch\.float16 on cpu"):
                net(x)
            del net.V
            with pytest.raises(ValueError, match="expected a parameter `V`"):
                net(x)


def test_functional_call_takes_other_parameters(backend: str) -> None:
    net, x = model(backend), feed()
    second = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(2)
    values = {name: parameter * 2 for name, parameter in net.named_parameters()}
    y, _ = torch.func.functional_call(net, values, (x,))
    assert torch.equal(y, second(x)[0])
    y.square().sum().backward()
    expected = gradients(second, x)
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, 2 * expected[name])


def test_transforms_of_functions_see_the_reference(backend: str) -> None:
    net, x = model(backend), feed()
    values = dict(net.named_parameters())

    def score(values: dict[str, Tensor], x: Tensor) -> Tensor:
        y: Tensor = torch.func.functional_call(net, values, (x,))[0]
        return y.square().sum()

    expected = gradients(net, x)
    actual = torch.func.grad(score)(values, x)
    row_gradients = torch.func.vmap(torch.func.grad(score), in_dims=(None, 1))(
        values, x.unsqueeze(2)
    )
    for name in expected:
        torch.testing.assert_close(actual[name], expected[name])
        torch.testing.assert_close(row_gradients[name].sum(0), expected[name])
    _, along = torch.func.jvp(lambda x: net(x)[0], (x,), (torch.ones_like(x),))
    step = 1e-3
    difference = (net(x + step)[0] - net(x - step)[0]) / (2 * step)
    torch.testing.assert_close(along, difference, rtol=1e-2, atol=1e-3)
    assert torch.func.hessian(lambda x: net(x)[0].sum())(x[:2, :1]).shape == (2, 1, 3) * 2


def test_second_derivatives_are_right(backend: str) -> None:
    net = model(backend).double()
    x = feed().double()[:3].requires_grad_()
    weight = net.get_parameter("W")

    def run(x: Tensor, w: Tensor) -> Tensor:
        values = {**dict(net.named_parameters()), "W": w}
        y: Tensor = torch.func.functional_call(net, values, (x,))[0]
        return y

    assert torch.autograd.gradcheck(run, (x, weight))
    assert torch.autograd.gradgradcheck(run, (x, weight))


@pytest.mark.parametrize("with_gradients", [True, False])
def test_forward_mode_takes_tangents_along(backend: str, with_gradients: bool) -> None:
    net, x, along = model(backend), feed(), torch.randn(5, 2, 3)
    weight = net.get_parameter("W").detach()
    _, expected = torch.func.jvp(
        lambda x, w: torch.func.functional_call(net, {"W": w}, (x,))[0],
        (x, weight),
        (along, weight),
    )
    with torch.autograd.forward_ad.dual_level(), torch.set_grad_enabled(with_gradients):
        dual = torch.autograd.forward_ad.make_dual(x, along)
        values = {"W": torch.autograd.forward_ad.make_dual(weight, weight)}
        for _ in range(3):
            y, state = torch.func.functional_call(net, values, (dual,))
            actual = torch.autograd.forward_ad.unpack_dual(y).tangent
            torch.testing.assert_close(actual, expected)
            assert torch.autograd.forward_ad.unpack_dual(state.h).tangent is not None
            # What has no tangent is computed as ever.
            assert torch.autograd.forward_ad.unpack_dual(net(x)[0]).tangent is None


def test_changed_parameters_are_noticed(backend: str) -> None:
    net = model(backend)
    y, _ = net(feed())
    with torch.no_grad():
        net.get_parameter("W").add_(1)
    with pytest.raises(RuntimeError, match="inplace"):
        y.sum().backward()


def test_outputs_may_be_changed_in_place(backend: str) -> None:
    net, x = model(backend), feed()
    y, state = net(x)
    expected = gradients(net, x)
    net.zero_grad()
    before = state.h.clone()
    y.mul_(1)
    assert torch.equal(state.h, before)
    y.square().sum().backward()
    assert_same({n: p.grad for n, p in net.named_parameters() if p.grad is not None}, expected)


def test_a_graph_is_freed_after_backward_and_refuses_a_second_one(backend: str) -> None:
    y, _ = model(backend)(feed())
    y.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()


def test_a_graph_that_is_retained_gives_the_same_gradients_again(backend: str) -> None:
    net, x = model(backend), feed()
    expected = gradients(net, x)
    net.zero_grad()
    score = net(x)[0].square().sum()
    for _ in range(2):
        actual = torch.autograd.grad(score, list(net.parameters()), retain_graph=True)
        assert_same(dict(zip(expected, actual, strict=True)), expected)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints_of_torch_compute_it_again(backend: str, reentrant: bool) -> None:
    net, x = model(backend), feed().requires_grad_()
    expected = gradients(net, x)
    assert x.grad is not None
    of_x = x.grad.clone()
    net.zero_grad()
    x.grad = None
    y, _ = checkpoint(net, x, use_reentrant=reentrant)
    y.square().sum().backward()
    actual = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    assert_same(actual, expected)
    assert torch.equal(x.grad, of_x)


def test_hooks_see_gradients_and_may_change_them(backend: str) -> None:
    net, x = model(backend), feed().requires_grad_()
    expected = gradients(net, x)
    hook_calls: list[str] = []
    for name, parameter in net.named_parameters():
        parameter.register_hook(lambda g, name=name: (hook_calls.append(name), 2 * g)[1])
    calls: list[Callable[..., None] | str] = []
    net.register_forward_hook(lambda module, arguments, actual: calls.append("forward"))
    net.register_full_backward_hook(lambda module, inner, outer: calls.append("backward"))
    actual = gradients(net, x)
    assert sorted(hook_calls) == sorted(expected)
    assert calls == ["forward", "backward"]
    for name in expected:
        assert torch.equal(actual[name], 2 * expected[name])


def test_what_is_saved_may_be_moved(backend: str) -> None:
    net, x = model(backend), feed()
    expected = gradients(net, x)
    net.zero_grad()

    def moved(tensor: Tensor) -> Tensor:
        # One number further on, where no memory of torch's own begins.
        room = torch.empty(tensor.numel() + 1, dtype=tensor.dtype)[1:]
        return room.view(tensor.shape).copy_(tensor)

    with torch.autograd.graph.saved_tensors_hooks(moved, lambda tensor: tensor):
        y, _ = net(x)
    y.square().sum().backward()
    for name, parameter in net.named_parameters():
        # The library of products takes memory that begins elsewhere in another order.
        torch.testing.assert_close(parameter.grad, expected[name])


def test_inference_mode(backend: str) -> None:
    net, x = model(backend), feed()
    with torch.inference_mode():
        y, state = net(x)
        later, _ = net(x, state)
    assert torch.equal(y, net(x)[0])
    assert torch.equal(later, net(x, net(x)[1])[0])


SCRIPT = """
import sys, torch, rnnc
import torch.distributed as dist
rank, file, text, backend = int(sys.argv[1]), *sys.argv[2:]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
torch.manual_seed(0)
net = rnnc.compile(text, backend=backend)
whole = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(1))
ddp = torch.nn.parallel.DistributedDataParallel(net)
ddp(whole[:, rank:rank + 1])[0].square().sum().backward()
mine = {n: p.grad.clone() for n, p in net.named_parameters()}
net.zero_grad()
net(whole)[0].square().sum().backward()
for name, parameter in net.named_parameters():
    torch.testing.assert_close(mine[name] * 2, parameter.grad)
dist.destroy_process_group()
"""


def test_ddp_averages_gradients_over_processes(backend: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".pkg")}
    started = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "store"), TEXT, backend],
            env=environment,
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    for process in started:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
