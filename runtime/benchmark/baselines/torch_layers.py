"""The same network built from torch.nn layers, recognized from its graph."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnc.compiler.torch_interop.torch_weights import load_torch, to_torch
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.runtime.benchmark.workload.candidate import Candidate, StepResult, Unavailable
from rnnc.runtime.benchmark.workload.workload import Workload

from .backends import draws_masks


@dataclass(frozen=True, slots=True)
class TorchLayers:
    """Recurrent torch.nn layers with at most one output matrix.

    module: the layers, with the model's weights. output_weight, output_bias: parameter names of the
    output layer; empty if the last layer's states are the output.
    """

    module: nn.RNNBase
    output_weight: str
    output_bias: str


def match_torch_layers(workload: Workload) -> TorchLayers:
    """Match a model with torch.nn layers.

    Raises:
        Unavailable: if torch.nn has no such network.
    """
    graph = workload.graph
    try:
        module = to_torch(workload.model)
    except ValueError:
        raise Unavailable("its operators are no layers of nn.RNN, LSTM or GRU") from None
    if draws_masks(workload):
        raise Unavailable("it draws masks in training")
    if len(graph.inputs) != 1 or graph.inputs[0].type.kind == "symbol":
        raise Unavailable("torch.nn's layers take one input of real numbers")
    if module.bidirectional:
        raise Unavailable("only layers of one direction are compared")
    if len(graph.outputs) != 1 or graph.outputs[0].at_end:
        raise Unavailable("torch.nn's layers have one output a step")
    return TorchLayers(module, *_output_layer(graph))


def torch_layers(workload: Workload) -> Candidate:
    """Make the candidate of torch.nn.LSTM, GRU or RNN, with F.linear as the output layer."""
    layers = match_torch_layers(workload)
    module, x = layers.module, next(iter(workload.inputs.values()))
    output_weights = {
        name: workload.model.get_parameter(name).detach().clone().requires_grad_()
        for name in (layers.output_weight, layers.output_bias)
        if name
    }
    weights = [*module.parameters(), *output_weights.values()]

    def run() -> Tensor:
        y: Tensor = module(x)[0]
        if not layers.output_weight:
            return y
        return F.linear(
            y, output_weights[layers.output_weight], output_weights.get(layers.output_bias)
        )

    def forward() -> object:
        with torch.no_grad():
            return run()

    def step() -> Tensor:
        for weight in weights:
            weight.grad = None
        y = run()
        torch.autograd.backward([y], workload.output_gradients)
        return y

    def answer() -> StepResult:
        y = step().detach()
        gradients = {
            name: weight.grad for name, weight in output_weights.items() if weight.grad is not None
        }
        return StepResult((y,), gradients | map_gradients(workload, module))

    name = type(module).__name__
    description = f"torch.nn.{name}" + (" and F.linear" if layers.output_weight else "")
    if workload.device.type == "cuda":
        description += " (cuDNN)" if torch.backends.cudnn.enabled else " (without cuDNN)"
    return Candidate("torch.nn", description, forward, step, answer)


def _output_layer(graph: OperatorGraph) -> tuple[str, str]:
    """Return the parameter names of the output layer's matrix and bias."""
    states = graph.states_by_node
    operand = graph.outputs[0].value
    node = graph.nodes[operand.node]
    bias = ""
    if node.operation == "add":
        operands = [graph.nodes[o.node] for o in node.operands if not o.delay]
        for side, other in (operands, operands[::-1]) if len(operands) == 2 else ():
            if other.operation == "parameter":
                node, bias = side, str(other.attributes[0])
    if node.id in states and not bias and not operand.delay:
        return "", ""
    if node.operation == "matmul" and not node.attributes[0]:
        matrix, vector = (graph.nodes[o.node] for o in node.operands)
        is_current = not any(o.delay for o in node.operands) and matrix.operation == "parameter"
        if is_current and vector.id in states:
            return str(matrix.attributes[0]), bias
    raise Unavailable("its output is neither a layer's state nor one matrix times it")


def map_gradients(workload: Workload, module: nn.RNNBase) -> dict[str, Tensor]:
    """Return a module's gradients under the names of the model's parameters."""
    gradient_module, model = copy.deepcopy(module), copy.deepcopy(workload.model)
    gates = {"LSTM": 4, "GRU": 3}.get(type(module).__name__, 1)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            assert weight.grad is not None
            gradient = weight.grad.clone()
            # load_torch adds both biases, which have equal gradients: keep one. Only a GRU's last
            # gate has a separate second bias.
            if name.startswith("bias_hh"):
                gradient.view(gates, -1)[: 2 if gates == 3 else gates] = 0
            gradient_module.get_parameter(name).copy_(gradient)
        for parameter in model.parameters():
            parameter.fill_(torch.nan)
        load_torch(model, gradient_module)
    return {
        name: parameter.detach()
        for name, parameter in model.named_parameters()
        if not parameter.isnan().all()
    }
