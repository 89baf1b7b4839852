"""Wrap any backend as two operators of `torch.library`, opaque to `torch.compile`.

`rnnc::forward` and `rnnc::backward` take the flattened tensors of a call; residuals go from one to
the other as bytes, because their sizes may depend on lengths. A model is passed as a text, from
which a compiled graph rebuilds its backends in any process.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DynamicOutputShapeException

from rnnc.compiler.backends.backend import Backend, Options, Residuals
from rnnc.compiler.backends.registry import Backends
from rnnc.compiler.calls.flattening import (
    TensorKey,
    clone_aliased,
    describe_key,
    expected_shapes,
    flatten,
    flatten_result,
    is_differentiable,
    unflatten,
    unflatten_result,
)
from rnnc.compiler.calls.sequence_masks import like_of
from rnnc.compiler.calls.tensor_storage import check_storage
from rnnc.compiler.calls.value_checks import check_values
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from rnnc.operators.graph.operator_graph import OperatorGraph, expose_loss_inputs
from rnnc.operators.semantics.call import Call, CallResult
from rnnc.operators.sources.model_source import ModelSource

from .autograd_function import backward, forward, materialize_cotangents, traceable_gradients

_DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.bool,
    torch.uint8,
)


_CALL_SCHEMA = "Tensor[] tensors, str key, str names, bool training, int[] wanted"


def model_key(
    program: ModelSource,
    backend: str,
    options: Options,
    require: str | None = None,
    *,
    with_loss_inputs: bool = False,
) -> str:
    """Serialize a program with its compile options.

    with_loss_inputs: True for its graph with loss inputs as outputs (`expose_loss_inputs`).
    """
    return json.dumps(
        [
            program.text,
            program.name,
            dict(program.modules),
            program.model,
            dict(program.parameters),
            backend,
            options.memory,
            sorted(options.without),
            require,
            with_loss_inputs,
        ]
    )


@lru_cache(maxsize=256)
def backends_from_key(key: str) -> tuple[OperatorGraph, Backends]:
    """Rebuild the graph and backends from the text of `model_key`."""
    text, name, modules, model, parameters, *compiled, with_loss_inputs = json.loads(key)
    backend, memory, without, require = compiled
    source = Source(text, name)
    graph = analyze(
        source, model=model, parameters=parameters, modules=modules, assume_missing=False
    ).graph
    assert graph is not None
    graph = expose_loss_inputs(graph) if with_loss_inputs else graph
    return graph, Backends(graph, backend, Options(memory, frozenset(without)), require)


def run_as_custom_op(call: Call, key: str) -> CallResult:
    """Run one call as `rnnc::forward`, the operator that `torch.compile` sees."""
    keys, tensors = flatten(call)
    wanted: list[int] = []
    if torch._C._get_tracing_state() is not None:
        # A recorded trace must not depend on the tensors that require a gradient at its recording.
        wanted = [
            i for i, (k, t) in enumerate(zip(keys, tensors, strict=True)) if is_differentiable(k, t)
        ]
    elif torch.is_grad_enabled():
        wanted = [i for i, t in enumerate(tensors) if t.requires_grad]
    names = "\n".join([f"{kind} {name}" for kind, name in keys])
    results = forward_op(list(tensors), key, names, call.training, wanted)
    return unflatten_result(call.graph, tuple(call.carry), results, training=call.training)


@torch.library.custom_op("rnnc::forward", mutates_args=(), schema=f"({_CALL_SCHEMA}) -> Tensor[]")
def forward_op(
    tensors: Sequence[Tensor],
    key: str,
    names: str,
    training: bool,
    wanted: Sequence[int],
) -> list[Tensor]:
    """Return the flat results, then the packed residuals: bytes, and a table of their layout."""
    call, backend = _rebuild_call(tensors, key, names, training)
    keys = _parse_keys(names)
    _check_tensors(call, keys, tensors)
    check_values(call)
    wrt = tuple(keys[i] for i in wanted)
    with torch.no_grad():
        result, residuals = forward(backend, call, wrt)
        flat = [tensor.contiguous() for tensor in flatten_result(result)]
        if wanted:
            flat += _pack_residuals(residuals, backend.residual_count(call, wrt))
        return clone_aliased(flat, tensors)


@forward_op.register_fake
def _(
    tensors: Sequence[Tensor],
    key: str,
    names: str,
    training: bool,
    wanted: Sequence[int],
) -> list[Tensor]:
    call, backend = _rebuild_call(tensors, key, names, training)
    graph, like, steps, rows = call.graph, like_of(call), call.steps, call.batch_size
    fake_results = [
        like.new_empty((rows, o.type.size) if o.at_end else (steps, rows, o.type.size))
        for o in graph.outputs
    ]
    fake_results += [value.new_empty(value.shape) for value in call.carry.values()]
    if training:
        fake_results += [like.new_empty(steps, rows) for _ in graph.laws]
        fake_results += [
            like.new_empty(steps, rows, graph.nodes[o.node].size) for o in graph.loss_inputs
        ]
    if wanted:
        keys = _parse_keys(names)
        for _ in range(backend.residual_count(call, tuple(keys[i] for i in wanted))):
            fake_results.append(like.new_empty((_data_dependent_size(),), dtype=torch.uint8))
        fake_results.append(torch.empty(_data_dependent_size(), dtype=torch.int64, device="cpu"))
    return fake_results


def _data_dependent_size() -> int | torch.SymInt:
    """Return a data-dependent size; 0 where sizes have no symbols."""
    try:
        return torch.library.get_ctx().new_dynamic_size()
    except DynamicOutputShapeException:
        return 0


@torch.library.custom_op(
    "rnnc::backward",
    mutates_args=(),
    schema=f"({_CALL_SCHEMA}, Tensor[] saved, Tensor?[] gradients) -> Tensor[]",
)
def backward_op(
    tensors: Sequence[Tensor],
    key: str,
    names: str,
    training: bool,
    wanted: Sequence[int],
    saved: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
) -> list[Tensor]:
    """Run the backward phases and return one gradient per key of `wrt`; None is zero."""
    call, backend = _rebuild_call(tensors, key, names, training)
    keys = _parse_keys(names)
    _check_tensors(call, keys, tensors)
    wrt = tuple(keys[i] for i in wanted)
    with torch.no_grad():
        cotangents = materialize_cotangents(call, gradients)
        computed = backward(backend, call, wrt, _unpack_residuals(saved), cotangents)
        contiguous = [
            torch.zeros_like(tensors[i], memory_format=torch.contiguous_format)
            if gradient is None
            else gradient.contiguous()
            for i, gradient in zip(wanted, computed, strict=True)
        ]
        return clone_aliased(
            contiguous, [*tensors, *saved, *(g for g in gradients if g is not None)]
        )


@backward_op.register_fake
def _(
    tensors: Sequence[Tensor],
    key: str,
    names: str,
    training: bool,
    wanted: Sequence[int],
    saved: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
) -> list[Tensor]:
    return [tensors[i].new_empty(tensors[i].shape) for i in wanted]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    tensors, *ctx.rest = inputs
    call, _ = _rebuild_call(tensors, *ctx.rest[:-1])
    extra = (len(call.graph.laws) + len(call.graph.loss_inputs)) * call.training
    ctx.results = len(call.graph.outputs) + len(call.carry) + extra
    ctx.count = len(tensors)
    ctx.save_for_backward(*tensors, *output[ctx.results :])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, gradients: list[Tensor | None]) -> tuple[Any, ...]:
    wanted = ctx.rest[-1]
    saved_tensors = ctx.saved_tensors
    tensors, residuals = list(saved_tensors[: ctx.count]), list(saved_tensors[ctx.count :])
    cotangents = list(gradients[: ctx.results])
    if torch.is_grad_enabled():
        call, _ = _rebuild_call(tensors, *ctx.rest[:-1])
        needs_grad = [i in wanted for i in range(len(tensors))]
        keys = _parse_keys(ctx.rest[1])
        computed = traceable_gradients(
            call, keys, tensors, needs_grad, cotangents, create_graph=True
        )
    else:
        computed = backward_op(tensors, *ctx.rest, residuals, cotangents)
    gradients_by_position: list[Tensor | None] = [None] * len(tensors)
    for i, gradient in zip(wanted, computed, strict=True):
        gradients_by_position[i] = gradient
    return (gradients_by_position, *(None for _ in ctx.rest))


forward_op.register_autograd(_backward, setup_context=_setup_context)


def _rebuild_call(
    tensors: Sequence[Tensor], key: str, names: str, training: bool
) -> tuple[Call, Backend]:
    graph, backends = backends_from_key(key)
    empty: dict[str, Tensor] = {}
    bare = Call(graph, empty, empty, empty, empty, empty, {}, None, None, training, 0, 0)
    call = unflatten(bare, _parse_keys(names), tensors)
    # Read from the tensors: a trace keeps plain arguments, and may be called with other shapes.
    for series in call.inputs.values():
        call = replace(call, steps=series.shape[0], batch_size=series.shape[1])
    return call, backends.choose(like_of(call))


def _check_tensors(call: Call, keys: Sequence[TensorKey], tensors: Sequence[Tensor]) -> None:
    """Check the tensors of a traced call, because a trace may be called with any others.

    Raises:
        ValueError: if a tensor is of another shape than the inputs ask for, or has no memory.
    """
    expected = expected_shapes(call)
    for key, tensor in zip(keys, tensors, strict=True):
        if tuple(tensor.shape) != expected[key]:
            raise ValueError(
                f"{describe_key(key)}: expected {expected[key]}, got {tuple(tensor.shape)}"
            )
        check_storage(describe_key(key), tensor)


@lru_cache(maxsize=256)
def _parse_keys(names: str) -> tuple[TensorKey, ...]:
    parts = (line.partition(" ") for line in names.split("\n"))
    return tuple((kind, name) for kind, _, name in parts)


def _pack_residuals(residuals: Residuals, count: int) -> list[Tensor]:
    """Pack residuals into `count` tensors of bytes, then a table of counts, dtypes and shapes."""
    table = [len(residuals.tensors), len(residuals.metadata), *residuals.metadata]
    packed: list[Tensor] = []
    for tensor in residuals.tensors:
        table += [_DTYPES.index(tensor.dtype), tensor.dim(), *tensor.shape]
        packed.append(tensor.contiguous().view(-1).view(torch.uint8))
    assert len(packed) <= count, (len(packed), count)
    like = packed[0] if packed else torch.empty(0, dtype=torch.uint8)
    packed += [like.new_empty(0) for _ in range(count - len(packed))]
    return [*packed, torch.tensor(table)]


def _unpack_residuals(saved: Sequence[Tensor]) -> Residuals:
    *packed, packed_table = saved
    table = packed_table.tolist()
    count, metadata_length = table[:2]
    metadata, layout = table[2 : 2 + metadata_length], table[2 + metadata_length :]
    tensors: list[Tensor] = []
    for tensor in packed[:count]:
        dtype, axes = _DTYPES[layout[0]], layout[1]
        tensors.append(tensor.view(dtype).view(layout[2 : 2 + axes]))
        layout = layout[2 + axes :]
    return Residuals(tuple(tensors), tuple(metadata))
