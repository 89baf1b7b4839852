"""A compiled module is a module: copies, pickles, threads, autocast, DDP, torch.func, compile."""

from __future__ import annotations

import copy
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

import rnnc
from rnnc.compiler.module import CompiledRNN
from support.commands import ROOT

TEXT = """
input x: real[3]
state h: real[4] = learned
state c: real[4]
output y: real[2]
h' = tanh(W h + U x + b)
c' = 0.5 * c + h'
y = V [h' ; c'] + b2
"""


def model() -> CompiledRNN:
    torch.manual_seed(0)
    return rnnc.compile(TEXT, backend="aten")


def feed() -> Tensor:
    return torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(1))


def gradients(net: torch.nn.Module, x: Tensor) -> dict[str, Tensor]:
    net.zero_grad()
    net(x)[0].square().sum().backward()
    found = {name: p.grad for name, p in net.named_parameters()}
    return {name: g.clone() for name, g in found.items() if g is not None}


def test_copies_and_pickles_compute_the_same() -> None:
    net, x = model(), feed()
    net(x)[0].sum().backward()
    assert torch.equal(copy.deepcopy(net)(x)[0], net(x)[0])
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x)[0], net(x)[0])


def test_threads_share_a_model() -> None:
    net, x = model(), feed()
    found: list[Tensor | None] = [None] * 4

    def work(index: int) -> None:
        found[index] = net(x)[0]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = net(x)[0]
    assert all(y is not None and torch.equal(y, expected) for y in found)


def test_two_runs_give_the_same_bits() -> None:
    first, second = gradients(model(), feed()), gradients(model(), feed())
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert len(first) == 6


def test_autocast_computes_in_the_parameters_dtype() -> None:
    net, x = model(), feed()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, _ = net(x)
    assert torch.equal(y, net(x)[0])


def test_functional_call_takes_other_parameters() -> None:
    net, x = model(), feed()
    other = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(2)
    values = {name: parameter * 2 for name, parameter in net.named_parameters()}
    y, _ = torch.func.functional_call(net, values, (x,))
    assert torch.equal(y, other(x)[0])


def test_transforms_of_functions_see_the_reference() -> None:
    net, x = model(), feed()

    def score(values: dict[str, Tensor]) -> Tensor:
        y: Tensor = torch.func.functional_call(net, values, (x,))[0]
        return y.square().sum()

    found = torch.func.grad(score)(dict(net.named_parameters()))
    for name, gradient in gradients(net, x).items():
        torch.testing.assert_close(found[name], gradient)


def test_second_derivatives_are_right() -> None:
    net = model().double()
    x = feed().double()[:3].requires_grad_()
    weight = net.get_parameter("W")

    def run(x: Tensor, w: Tensor) -> Tensor:
        values = {**dict(net.named_parameters()), "W": w}
        y: Tensor = torch.func.functional_call(net, values, (x,))[0]
        return y

    assert torch.autograd.gradcheck(run, (x, weight))
    assert torch.autograd.gradgradcheck(run, (x, weight))


def test_changed_parameters_are_noticed() -> None:
    net = model()
    y, _ = net(feed())
    with torch.no_grad():
        net.get_parameter("W").add_(1)
    with pytest.raises(RuntimeError, match="inplace"):
        y.sum().backward()


def test_outputs_may_be_changed_in_place() -> None:
    net, x = model(), feed()
    y, _ = net(x)
    y.mul_(2)
    y.sum().backward()


def test_a_graph_is_freed_after_backward_and_refuses_a_second_one() -> None:
    y, _ = model()(feed())
    y.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_row_that_is_not_finite_stays_alone(bad: float) -> None:
    net, x = model(), feed()
    x[1, 0] = bad
    x.requires_grad_()
    y, state = net(x)
    y[:, 1].sum().backward()
    assert y[:, 1].isfinite().all()
    assert state.h[1].isfinite().all()
    assert x.grad is not None
    assert x.grad[:, 1].isfinite().all()


SCRIPT = """
import sys, torch, rnnc
import torch.distributed as dist
rank, file, text = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
torch.manual_seed(0)
net = rnnc.compile(text, backend="aten")
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


def test_ddp_averages_gradients_over_processes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".pkg")}
    started = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "store"), TEXT],
            env=environment,
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    for process in started:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
