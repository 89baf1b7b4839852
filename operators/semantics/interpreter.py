"""Reference semantics of operator graphs: interpreted step by step in plain PyTorch.

Slow and simple on purpose: every backend is compared with it, for values and gradients. It works
in any dtype, on any device, and under autograd of any order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnc.operators.graph.operator_graph import Node, Operand, OperatorGraph
from rnnc.operators.graph.topological_order import topological_order

from .call import Call, CallResult
from .segments import Segments
from .windows import WINDOW_READING_OPS, evaluate_window_op, logsumexp, masked_softmax

UNARY_OPS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "exp": torch.exp,
    "log": torch.log,
    "abs": torch.abs,
    "sqrt": torch.sqrt,
    "sin": torch.sin,
    "cos": torch.cos,
    "negate": torch.neg,
    "softmax": lambda z: z.softmax(-1),
    "sum": lambda z: z.sum(-1, keepdim=True),
    "stopgrad": lambda z: z.detach(),
}
BINARY_OPS: Final[dict[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "divide": torch.div,
    "dot": lambda a, b: (a * b).sum(-1, keepdim=True),
    "masked_softmax": masked_softmax,
    "logaddexp": torch.logaddexp,
    "rmsnorm": lambda z, g: g * z * (z.square().mean(-1, keepdim=True) + 1e-5).rsqrt(),
}


StopGradientValues = dict[tuple[int, int | None], Tensor]
"""Values of `stopgrad` by node and step; step None for a value that is the same at all steps."""


def interpret(call: Call, stop_gradient_values: StopGradientValues | None = None) -> CallResult:
    """Return all outputs and the carry of one call.

    stop_gradient_values: values of `stopgrad` by node and step. Those in the table replace the
    computed ones, all others are added to it. So a second call of the same T and B holds constant
    what derivatives of the first one hold constant, whatever its arguments.
    """
    graph = call.graph
    segments = Segments(call)
    invariant = _time_invariant_nodes(graph)
    env: dict[int, Tensor | list[Tensor]] = {}
    for variable in graph.inputs:
        env[variable.node] = list(segments.repeat_last_step(call.inputs[variable.name]).unbind(0))
    for component in graph.components:
        if component[0] in env:
            continue
        if component[0] in invariant:
            value = _evaluate_node(graph.nodes[component[0]], call, None, env, segments)
            env[component[0]] = _hold_stop_gradient(
                graph.nodes[component[0]], None, value, stop_gradient_values
            )
            continue
        steps = range(call.steps)
        for node_id in component:
            env[node_id] = [torch.empty(0)] * call.steps
        order = topological_order(graph, component)
        runs_backward = component[0] in graph.backward_nodes
        for t in reversed(steps) if runs_backward else steps:
            for node_id in order:
                value = _evaluate_node(graph.nodes[node_id], call, t, env, segments)
                series = env[node_id]
                assert isinstance(series, list)
                series[t] = _hold_stop_gradient(
                    graph.nodes[node_id], t, value, stop_gradient_values
                )
    return CallResult(
        _collect_outputs(call, env, segments),
        _collect_carry(call, env, segments),
        _law_errors(call, env, segments),
        _collect_loss_inputs(call, env, segments),
    )


def _hold_stop_gradient(
    node: Node, t: int | None, value: Tensor, stop_gradient_values: StopGradientValues | None
) -> Tensor:
    if stop_gradient_values is None or node.operation != "stopgrad":
        return value
    # A copy: a parameter's value is its own storage, which may change before the second call.
    return stop_gradient_values.setdefault((node.id, t), value.clone())


def _time_invariant_nodes(graph: OperatorGraph) -> set[int]:
    """Return the nodes that depend on parameters and constants alone."""
    invariant: set[int] = set()
    for component in graph.components:
        node = graph.nodes[component[0]]
        if node.operation in {"parameter", "constant"} or (
            node.operands
            and node.operation not in {"state", "dropout", "variational", "zoneout"}
            and all(operand.node in invariant for operand in node.operands)
        ):
            invariant.add(node.id)
    return invariant


def _read_operand(
    operand: Operand,
    t: int | None,
    env: dict[int, Tensor | list[Tensor]],
    segments: Segments,
) -> Tensor:
    """Return an operand's value as its reader at step t sees it."""
    series = env[operand.node]
    if isinstance(series, Tensor):
        return series
    assert t is not None
    if operand.delay == 0:
        return series[t]
    return segments.read_delayed(operand.node, series, t, operand.delay)


def _read_defined_operand(
    operand: Operand,
    t: int | None,
    env: dict[int, Tensor | list[Tensor]],
    segments: Segments,
) -> Tensor:
    """Return an operand's value, set to 1 in rows that have ended."""
    value = _read_operand(operand, t, env, segments)
    return value if t is None or value is env[operand.node] else segments.fill_past_end(value, t)


def _evaluate_node(
    node: Node,
    call: Call,
    t: int | None,
    env: dict[int, Tensor | list[Tensor]],
    segments: Segments,
) -> Tensor:
    operation = node.operation
    if operation == "parameter":
        return call.parameters[str(node.attributes[0])]
    if operation == "constant":
        return segments.constant(float(node.attributes[0]), node.size)
    if operation == "window":
        return segments.like.new_empty(0)
    if operation in WINDOW_READING_OPS:
        assert t is not None
        rows = call.graph.nodes[node.operands[0].node]
        arguments = [
            _read_defined_operand(operand, t, env, segments) for operand in node.operands[1:]
        ]
        return evaluate_window_op(node, rows, env, t, arguments, segments)
    if operation == "state":
        assert t is not None
        value = _read_operand(node.operands[0], t, env, segments)
        return segments.hold_past_end(node.id, value, t, env[node.id])
    values = [_read_defined_operand(operand, t, env, segments) for operand in node.operands]
    if operation in UNARY_OPS:
        return UNARY_OPS[operation](values[0])
    if operation in BINARY_OPS:
        return BINARY_OPS[operation](values[0], values[1])
    if operation == "matmul":
        return multiply_matrix(values[0], values[1], transposed=bool(node.attributes[0]))
    if operation == "lookup":
        return lookup_symbol(values[0], values[1], transposed=bool(node.attributes[0]))
    return _evaluate_other_op(node, call, t, values, segments)


def _evaluate_other_op(
    node: Node, call: Call, t: int | None, values: list[Tensor], segments: Segments
) -> Tensor:
    match node.operation:
        case "concatenate":
            shape = segments.batch_shape(values)
            return torch.cat([value.expand(*shape, value.shape[-1]) for value in values], -1)
        case "slice":
            start, stop = (int(a) for a in node.attributes)
            return values[0][..., start:stop]
        case "onehot":
            hot = F.one_hot(values[0].clamp(min=0), node.size).to(segments.like.dtype)
            return hot * (values[0] >= 0).unsqueeze(-1)
        case "maxout":
            return split_groups(values[0], node.size).amax(-1)
        case "lp":
            return lp(values[0], values[1], int(node.attributes[0]))
        case "layernorm":
            z, g, b = values
            centered = z - z.mean(-1, keepdim=True)
            return g * centered * (centered.square().mean(-1, keepdim=True) + 1e-5).rsqrt() + b
        case "logsumexp":
            return logsumexp(*values)
        case "zoneout":
            return _zoneout(node, call, t, values)
        case _:
            assert node.operation in {"dropout", "variational"}, node.operation
            mask = call.masks.get(node.id)
            if mask is None:
                return values[0]
            return values[0] * (mask[t] if node.operation == "dropout" else mask)


def _zoneout(node: Node, call: Call, t: int | None, values: list[Tensor]) -> Tensor:
    new, old = values
    mask = call.masks.get(node.id)
    if mask is None:
        p = float(node.attributes[0])
        return p * old + (1 - p) * new
    return torch.where(mask[t], old, new)


def split_groups(z: Tensor, count: int) -> Tensor:
    """Split a vector into `count` groups: (…, n) to (…, count, n / count)."""
    return z.reshape(*z.shape[:-1], count, z.shape[-1] // count)


def multiply_matrix(weight: Tensor, vector: Tensor, *, transposed: bool) -> Tensor:
    """Multiply a matrix and a vector: (r, c) and (…, c) give (…, r).

    (k, r, c) is a block-diagonal matrix of k blocks.
    """
    if weight.dim() == 2:
        return vector @ weight if transposed else F.linear(vector, weight)
    k = len(weight)
    parts = split_groups(vector, k)
    equation = "...kr,krc->...kc" if transposed else "...kc,krc->...kr"
    return torch.einsum(equation, parts, weight).flatten(-2)


def lookup_symbol(weight: Tensor, symbol: Tensor, *, transposed: bool) -> Tensor:
    """Return the column (transposed: the row) of a matrix at a symbol; 0 for no symbol (−1)."""
    if weight.dim() == 3:
        weight = torch.block_diag(*weight)  # type: ignore[no-untyped-call]
    rows = weight if transposed else weight.t()
    entries = rows[symbol.clamp(min=0)]
    return torch.where((symbol >= 0).unsqueeze(-1), entries, torch.zeros_like(entries))


def lp(z: Tensor, rho: Tensor, k: int) -> Tensor:
    """Compute (mean |z|^p)^(1/p) over groups of k entries, p = 1 + softplus(ρ).

    Gulcehre et al. 2014, arXiv 1311.1780, eq. 3.
    """
    p = (1 + F.softplus(rho)).unsqueeze(-1)
    mean = split_groups(z, z.shape[-1] // k).abs().pow(p).mean(-1)
    return mean.clamp(min=torch.finfo(z.dtype).tiny).pow(1 / p.squeeze(-1))


def _stack_steps(
    operand: Operand, call: Call, env: dict[int, Tensor | list[Tensor]], segments: Segments
) -> Tensor:
    """Return all steps of a value, (T, B, n)."""
    size = call.graph.nodes[operand.node].size
    values = [
        _read_operand(operand, t, env, segments).expand(call.batch_size, size)
        for t in range(call.steps)
    ]
    if not values:
        return segments.like.new_zeros(0, call.batch_size, size)
    return torch.stack(values)


def _collect_outputs(
    call: Call, env: dict[int, Tensor | list[Tensor]], segments: Segments
) -> tuple[Tensor, ...]:
    outputs: list[Tensor] = []
    for output in call.graph.outputs:
        series = _stack_steps(output.value, call, env, segments)
        series = torch.where(segments.valid.unsqueeze(-1), series, torch.zeros_like(series))
        outputs.append(segments.last_step(series) if output.at_end else series)
    return tuple(outputs)


def _collect_carry(
    call: Call, env: dict[int, Tensor | list[Tensor]], segments: Segments
) -> dict[str, Tensor]:
    carry: dict[str, Tensor] = {}
    nodes = {state.name: state.node for state in call.graph.states}
    nodes |= {variable.name: variable.node for variable in call.graph.inputs}
    for name in call.carry:
        series = env[nodes[name]]
        assert isinstance(series, list)
        carry[name] = segments.next_carry(nodes[name], series)
    return carry


def _law_errors(
    call: Call, env: dict[int, Tensor | list[Tensor]], segments: Segments
) -> tuple[Tensor, ...]:
    if not call.training:
        return ()
    return tuple(
        (_stack_steps(law.left, call, env, segments) - _stack_steps(law.right, call, env, segments))
        .square()
        .mean(-1)
        for law in call.graph.laws
    )


def _collect_loss_inputs(
    call: Call, env: dict[int, Tensor | list[Tensor]], segments: Segments
) -> tuple[Tensor, ...]:
    if not call.training:
        return ()
    return tuple(_stack_steps(operand, call, env, segments) for operand in call.graph.loss_inputs)
