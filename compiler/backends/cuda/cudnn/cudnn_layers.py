"""A model that is layers of torch.nn, run by torch's own library: on a GPU by cuDNN."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from rnnc.compiler.backends.backend import Saved
from rnnc.compiler.calls.flattening import Key, flat_result, flatten, unflatten
from rnnc.compiler.calls.torch_gradients import pulled
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call, Result

from .layer_matching import Gate, Layer, Stack, stack_of


class Library:
    """Runs the calls of one graph by `torch._VF.lstm` and its like.

    stack: the layers; why: the reason where the graph has none.
    """

    def __init__(self, graph: OperatorGraph) -> None:
        found = stack_of(graph)
        self.graph = graph
        self.stack = found if isinstance(found, Stack) else None
        self.why = found if isinstance(found, str) else ""

    def runs(self, call: Call) -> bool:
        """Whether a call is one that the layers of torch.nn have: no lengths and no resets."""
        whole = call.lengths is None and call.resets is None and call.steps > 0 and call.rows > 0
        if self.stack is None or not whole or call.masks or call.drawn:
            return False
        return all(
            tuple(call.parameters[name].shape) == shape
            for layer in self.stack.layers
            for gate in layer.gates
            for name, shape in _shapes(layer, gate)
        ) and all(call.parameters[o.matrix].dim() == 2 for o in self.stack.readouts if o.matrix)

    def key(self, dtype: torch.dtype, rows: int) -> str:
        """What decides whether it is faster: kinds and sizes; rows to the next power of two."""
        near = 1 << max(0, rows - 1).bit_length()
        return f"{self.about(dtype)} rows={near}"

    def about(self, dtype: torch.dtype) -> str:
        """The part of such keys that calls of all batches share."""
        assert self.stack is not None
        sizes = " ".join(f"{a.kind}:{a.width}:{a.size}" for a in self.stack.layers)
        return f"{sizes} {str(dtype).removeprefix('torch.')}"

    def forward(self, call: Call, wanted: tuple[Key, ...]) -> tuple[Result, Saved]:
        """The results; what torch saves for the backward pass is in `more`, where it can be."""
        if not wanted:
            return self._run(call, training=False), Saved()
        keys, tensors = flatten(call)
        own = [t.detach().requires_grad_(k in wanted) for k, t in zip(keys, tensors, strict=True)]
        with torch.enable_grad():
            result = self._run(unflatten(call, keys, own), training=True)
        flat = flat_result(result)
        bare = Result(
            tuple(y.detach() for y in result.outputs),
            {name: value.detach() for name, value in result.history.items()},
            (),
        )
        sources = [t for k, t in zip(keys, own, strict=True) if k in wanted]
        # Inside of an operator of torch nothing is recorded.
        more = (flat, sources) if any(y.requires_grad for y in flat) else None
        return bare, Saved(more=more)

    def backward(
        self,
        call: Call,
        wanted: tuple[Key, ...],
        saved: Saved,
        gradients: Mapping[Key, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """The gradients that are wanted."""
        given = tuple(gradients.values())
        if saved.more is not None:
            results, sources = saved.more
            return pulled(results, sources, given)
        keys, tensors = flatten(call)
        own = [t.detach().requires_grad_(k in wanted) for k, t in zip(keys, tensors, strict=True)]
        sources = [t for k, t in zip(keys, own, strict=True) if k in wanted]

        def work() -> Sequence[Tensor | None]:
            flat = flat_result(self._run(unflatten(call, keys, own), training=True))
            return pulled(flat, sources, given)

        with ThreadPoolExecutor(1) as other:
            return other.submit(work).result()

    def _run(self, call: Call, *, training: bool) -> Result:
        assert self.stack is not None
        series = {variable.node: call.inputs[variable.name] for variable in self.graph.inputs}
        nodes = {state.name: state.node for state in self.graph.states}
        after: dict[str, Tensor] = {}
        for layer in self.stack.layers:
            y, last = _layer(layer, series[layer.source], call, training)
            series[nodes[layer.states[0]]] = y
            after.update(zip(layer.states, last, strict=True))
        outputs: list[Tensor] = []
        for readout, output in zip(self.stack.readouts, self.graph.outputs, strict=True):
            y = series[readout.state][-1] if output.at_end else series[readout.state]
            if readout.matrix:
                bias = _total([call.parameters[name] for name in readout.biases])
                y = torch.nn.functional.linear(y, call.parameters[readout.matrix], bias)
            outputs.append(y.clone() if not readout.matrix else y)
        return Result(tuple(outputs), {name: after[name] for name in call.history}, ())


def _shapes(layer: Layer, gate: Gate) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Parameters of a gate, and what torch wants them to be: no blocks, nothing broadcast."""
    yield gate.of_input, (layer.size, layer.width)
    yield gate.of_state, (layer.size, layer.size)
    for name in (*gate.biases, *gate.inner):
        yield name, (layer.size,)


def _layer(
    layer: Layer, x: Tensor, call: Call, training: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The series of h, and the states after the last step, each (1, B, n)."""
    p, gates = call.parameters, layer.gates
    inner = layer.kind == "GRU"
    weights = [
        torch.cat([p[gate.of_input] for gate in gates]),
        torch.cat([p[gate.of_state] for gate in gates]),
        torch.cat([_bias(gate, call, layer.size, inner=False) for gate in gates]),
        torch.cat([_bias(gate, call, layer.size, inner=True) for gate in gates])
        if inner
        else p[gates[0].of_input].new_zeros(len(gates) * layer.size),
    ]
    before = [call.history[name].contiguous() for name in layer.states]
    library: dict[str, Callable[..., tuple[Tensor, ...]]] = {
        "LSTM": torch._VF.lstm,
        "GRU": torch._VF.gru,
        "RNN_TANH": torch._VF.rnn_tanh,
        "RNN_RELU": torch._VF.rnn_relu,
    }
    state = before if layer.kind == "LSTM" else before[0]
    y, *last = library[layer.kind](x, state, weights, True, 1, 0.0, training, False, False)
    return y, tuple(last)


def _bias(gate: Gate, call: Call, size: int, *, inner: bool) -> Tensor:
    names = gate.inner if inner else gate.biases
    found = _total([call.parameters[name] for name in names])
    return call.parameters[gate.of_input].new_zeros(size) if found is None else found


def _total(tensors: Sequence[Tensor]) -> Tensor | None:
    total: Tensor | None = None
    for tensor in tensors:
        total = tensor if total is None else total + tensor
    return total
