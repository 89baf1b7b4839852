"""The same layers as `jax.lax.scan` under `jit`, with input matmuls hoisted by hand."""

from __future__ import annotations

import copy
import importlib
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rnnc.runtime.benchmark.workload.candidate import Candidate, StepResult, Unavailable
from rnnc.runtime.benchmark.workload.workload import Workload

from .torch_layers import TorchLayers, map_gradients, match_torch_layers

Weights = dict[str, Any]


def jax_scan(workload: Workload) -> Candidate:
    """Make the candidate of LSTM, GRU or tanh RNN in JAX, with jitted passes.

    Raises:
        Unavailable: without JAX, and for what is no layer of these kinds.
    """
    layers = match_torch_layers(workload)
    jax = _jax()
    run = _network(jax, layers)
    weights = _weights(jax, workload, layers)
    x, output_gradient = (
        _array(jax, t) for t in (next(iter(workload.inputs.values())), workload.output_gradients[0])
    )
    forward = jax.jit(run)

    def gradients(weights: Weights, x: Any, output_gradient: Any) -> Any:
        y, pull = jax.vjp(lambda w: run(w, x), weights)
        return y, pull(output_gradient)[0]

    step = jax.jit(gradients)

    def answer() -> StepResult:
        y, gradients_by_name = step(weights, x, output_gradient)
        module = copy.deepcopy(layers.module)
        for name, parameter in module.named_parameters():
            parameter.grad = _tensor(gradients_by_name[name])
        outer = {
            n: _tensor(gradients_by_name[n])
            for n in (layers.output_weight, layers.output_bias)
            if n
        }
        return StepResult((_tensor(y),), outer | map_gradients(workload, module))

    return Candidate(
        "jax",
        f"jax.lax.scan under jit, JAX {jax.__version__}, input products hoisted by hand",
        lambda: jax.block_until_ready(forward(weights, x)),
        lambda: jax.block_until_ready(step(weights, x, output_gradient)),
        answer,
    )


def _jax() -> Any:
    # XLA fixes its number of threads at startup: use torch's number.
    os.environ.setdefault("NPROC", str(torch.get_num_threads()))
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    try:
        return importlib.import_module("jax")
    except ImportError:
        raise Unavailable("JAX is not installed: pip install jax") from None
    except Exception as error:  # a broken build raises any exception type
        raise Unavailable(f"JAX cannot be loaded: {error}") from None


def _array(jax: Any, tensor: Tensor) -> Any:
    return jax.numpy.asarray(tensor.detach().contiguous().numpy())


def _tensor(array: Any) -> Tensor:
    numpy = importlib.import_module("numpy")
    return torch.from_numpy(numpy.array(array))


def _weights(jax: Any, workload: Workload, layers: TorchLayers) -> Weights:
    weights = {name: _array(jax, p) for name, p in layers.module.named_parameters()}
    for name in (layers.output_weight, layers.output_bias):
        if name:
            weights[name] = _array(jax, workload.model.get_parameter(name))
    return weights


def _network(jax: Any, layers: TorchLayers) -> Callable[[Weights, Any], Any]:
    """Build a function from (weights, x) to the outputs, (T, B, m)."""
    module = layers.module
    jnp, hidden = jax.numpy, module.hidden_size
    kind = type(module).__name__
    if kind == "RNN" and module.nonlinearity != "tanh":
        raise Unavailable("only the RNN of tanh is written down for JAX")
    cell = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}[kind]

    def run(weights: Weights, x: Any) -> Any:
        for layer in range(module.num_layers):
            u, w, b, c = (
                weights[f"{name}_l{layer}"]
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            zero = jnp.zeros((x.shape[1], hidden), x.dtype)
            # A GRU applies its second bias inside the recurrent matmuls.
            hoisted = x @ u.T + (b if kind == "GRU" else b + c)
            begin = (zero, zero) if kind == "LSTM" else zero
            _, x = jax.lax.scan(cell(jax, w, c), begin, hoisted)
        if layers.output_weight:
            x = x @ weights[layers.output_weight].T
        return x + weights[layers.output_bias] if layers.output_bias else x

    return run


def _lstm(jax: Any, w: Any, c: Any) -> Callable[[Any, Any], Any]:
    def step(state: Any, z: Any) -> Any:
        h, c = state
        i, f, g, o = jax.numpy.split(z + h @ w.T, 4, axis=-1)
        sigmoid, tanh = jax.nn.sigmoid, jax.numpy.tanh
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return (h, c), h

    return step


def _gru(jax: Any, w: Any, c: Any) -> Callable[[Any, Any], Any]:
    def step(h: Any, z: Any) -> Any:
        r, u, n = jax.numpy.split(z, 3, axis=-1)
        hr, hu, hn = jax.numpy.split(h @ w.T + c, 3, axis=-1)
        r, u = jax.nn.sigmoid(r + hr), jax.nn.sigmoid(u + hu)
        n = jax.numpy.tanh(n + r * hn)
        h = (1 - u) * n + u * h
        return h, h

    return step


def _rnn(jax: Any, w: Any, c: Any) -> Callable[[Any, Any], Any]:
    def step(h: Any, z: Any) -> Any:
        h = jax.numpy.tanh(z + h @ w.T)
        return h, h

    return step
