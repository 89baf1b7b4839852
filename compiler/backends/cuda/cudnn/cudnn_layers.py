"""Run a graph that is a stack of torch.nn layers through torch's RNN functions (cuDNN)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from rnnc.compiler.backends.backend import Residuals
from rnnc.compiler.calls.flattening import TensorKey, flatten, flatten_result, unflatten
from rnnc.compiler.calls.torch_gradients import vjp
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call, CallResult

from .layer_matching import match_layer_stack
from .layer_stack import LayerGate, LayerStack, TorchLayer


class CudnnLayers:
    """The torch.nn layers of one graph, run through `torch._VF.lstm` and its siblings.

    stack: None if the graph is no layer stack; `mismatch_reason` then tells why.
    """

    def __init__(self, graph: OperatorGraph) -> None:
        match = match_layer_stack(graph)
        self.graph = graph
        self.stack = match if isinstance(match, LayerStack) else None
        self.mismatch_reason = match if isinstance(match, str) else ""

    def supports(self, call: Call) -> bool:
        """Return True for calls without lengths, resets, masks and broadcast parameters."""
        is_dense = (
            call.lengths is None and call.resets is None and call.steps > 0 and call.batch_size > 0
        )
        if self.stack is None or not is_dense or call.masks or call.reset_values:
            return False
        return all(
            tuple(call.parameters[name].shape) == shape
            for layer in self.stack.layers
            for gate in layer.gates
            for name, shape in _expected_shapes(layer, gate)
        ) and all(call.parameters[r.weight].dim() == 2 for r in self.stack.readouts if r.weight)

    def tuning_key(self, dtype: torch.dtype, batch_size: int) -> str:
        """Return the tuning table's key: layer kinds, sizes, dtype, batch size rounded up to 2ⁿ."""
        rounded_size = 1 << max(0, batch_size - 1).bit_length()
        return f"{self.tuning_key_prefix(dtype)} rows={rounded_size}"

    def tuning_key_prefix(self, dtype: torch.dtype) -> str:
        """Return the tuning key without the batch size."""
        assert self.stack is not None
        sizes = " ".join(
            f"{layer.kind}:{layer.input_size}:{layer.hidden_size}" for layer in self.stack.layers
        )
        return f"{sizes} {str(dtype).removeprefix('torch.')}"

    def forward(self, call: Call, wrt: tuple[TensorKey, ...]) -> tuple[CallResult, Residuals]:
        """Run the layers; if autograd can record them here, keep its graph in `context`."""
        if not wrt:
            return self._run(call, training=False), Residuals()
        keys, tensors = flatten(call)
        leaves = [t.detach().requires_grad_(k in wrt) for k, t in zip(keys, tensors, strict=True)]
        with torch.enable_grad():
            result = self._run(unflatten(call, keys, leaves), training=True)
        results = flatten_result(result)
        detached = CallResult(
            tuple(y.detach() for y in result.outputs),
            {name: value.detach() for name, value in result.carry.items()},
            (),
        )
        sources = [t for k, t in zip(keys, leaves, strict=True) if k in wrt]
        # Autograd records nothing inside a custom operator: `backward` then runs the layers again.
        context = (results, sources) if any(y.requires_grad for y in results) else None
        return detached, Residuals(context=context)

    def backward(
        self,
        call: Call,
        wrt: tuple[TensorKey, ...],
        residuals: Residuals,
        cotangents: Mapping[TensorKey, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """Return the gradients of `wrt`, from the recorded graph or by running the layers again."""
        result_cotangents = tuple(cotangents.values())
        if residuals.context is not None:
            results, sources = residuals.context
            return vjp(results, sources, result_cotangents)
        keys, tensors = flatten(call)
        leaves = [t.detach().requires_grad_(k in wrt) for k, t in zip(keys, tensors, strict=True)]
        sources = [t for k, t in zip(keys, leaves, strict=True) if k in wrt]

        def rerun() -> Sequence[Tensor | None]:
            results = flatten_result(self._run(unflatten(call, keys, leaves), training=True))
            return vjp(results, sources, result_cotangents)

        with ThreadPoolExecutor(1) as executor:
            return executor.submit(rerun).result()

    def _run(self, call: Call, *, training: bool) -> CallResult:
        assert self.stack is not None
        series = {variable.node: call.inputs[variable.name] for variable in self.graph.inputs}
        state_nodes = {state.name: state.node for state in self.graph.states}
        final_states: dict[str, Tensor] = {}
        for layer in self.stack.layers:
            y, layer_states = _run_layer(layer, series[layer.input_node], call, training)
            series[state_nodes[layer.states[0]]] = y
            final_states.update(zip(layer.states, layer_states, strict=True))
        outputs: list[Tensor] = []
        for readout, output in zip(self.stack.readouts, self.graph.outputs, strict=True):
            y = series[readout.state][-1] if output.at_end else series[readout.state]
            if readout.weight:
                bias = _sum_tensors([call.parameters[name] for name in readout.biases])
                y = torch.nn.functional.linear(y, call.parameters[readout.weight], bias)
            outputs.append(y.clone() if not readout.weight else y)
        return CallResult(tuple(outputs), {name: final_states[name] for name in call.carry}, ())


def _expected_shapes(layer: TorchLayer, gate: LayerGate) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the parameters of a gate with the shapes that torch requires."""
    yield gate.input_weight, (layer.hidden_size, layer.input_size)
    yield gate.recurrent_weight, (layer.hidden_size, layer.hidden_size)
    for name in (*gate.biases, *gate.recurrent_biases):
        yield name, (layer.hidden_size,)


def _run_layer(
    layer: TorchLayer, x: Tensor, call: Call, training: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run one layer; return h at all steps (T, B, n), and the final states, each (1, B, n)."""
    p, gates = call.parameters, layer.gates
    is_gru = layer.kind == "GRU"
    weights = [
        torch.cat([p[gate.input_weight] for gate in gates]),
        torch.cat([p[gate.recurrent_weight] for gate in gates]),
        torch.cat([_sum_biases(gate, call, layer.hidden_size, recurrent=False) for gate in gates]),
        torch.cat([_sum_biases(gate, call, layer.hidden_size, recurrent=True) for gate in gates])
        if is_gru
        else p[gates[0].input_weight].new_zeros(len(gates) * layer.hidden_size),
    ]
    initial_states = [call.carry[name].contiguous() for name in layer.states]
    functions: dict[str, Callable[..., tuple[Tensor, ...]]] = {
        "LSTM": torch._VF.lstm,
        "GRU": torch._VF.gru,
        "RNN_TANH": torch._VF.rnn_tanh,
        "RNN_RELU": torch._VF.rnn_relu,
    }
    state = initial_states if layer.kind == "LSTM" else initial_states[0]
    y, *final_states = functions[layer.kind](
        x, state, weights, True, 1, 0.0, training, False, False
    )
    return y, tuple(final_states)


def _sum_biases(gate: LayerGate, call: Call, size: int, *, recurrent: bool) -> Tensor:
    names = gate.recurrent_biases if recurrent else gate.biases
    total = _sum_tensors([call.parameters[name] for name in names])
    return call.parameters[gate.input_weight].new_zeros(size) if total is None else total


def _sum_tensors(tensors: Sequence[Tensor]) -> Tensor | None:
    total: Tensor | None = None
    for tensor in tensors:
        total = tensor if total is None else total + tensor
    return total
