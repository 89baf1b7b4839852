"""Any backend as two operators of `torch.library`, so that `torch.compile` need not look inside.

`rnnc::forward` and `rnnc::backward` take a call's tensors in a row; what they save goes from one to
the other as bytes, for its sizes may depend on lengths. A model is named by its text, from which a
compiled graph makes its backends again in any process.
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

from rnnc.compiler.backends.backend import Backend, Options, Saved
from rnnc.compiler.backends.registry import Backends
from rnnc.compiler.calls.flattening import (
    Key,
    apart,
    flat_result,
    flatten,
    may_learn,
    result_of,
    shapes,
    told,
    unflatten,
)
from rnnc.compiler.calls.plain_tensors import demand_memory
from rnnc.compiler.calls.sequence_masks import like_of
from rnnc.compiler.calls.value_checks import demand_values
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyse
from rnnc.operators.graph.operator_graph import OperatorGraph, showing_kept
from rnnc.operators.semantics.call import Call, Result
from rnnc.operators.sources.model_source import Program

from .autograd_function import backward, forward, in_memory, seen_through

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


_CALL = "Tensor[] tensors, str key, str names, bool training, int[] wanted"


def key_of(
    program: Program,
    backend: str,
    options: Options,
    require: str | None = None,
    *,
    shows_kept: bool = False,
) -> str:
    """A model and how it is compiled, as text; `shows_kept`: with `showing_kept`."""
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
            shows_kept,
        ]
    )


@lru_cache(maxsize=256)
def backends_of(key: str) -> tuple[OperatorGraph, Backends]:
    """The graph and the backends that such a text stands for."""
    text, name, modules, model, parameters, *compiled, shows_kept = json.loads(key)
    backend, memory, without, require = compiled
    source = Source(text, name)
    graph = analyse(source, model=model, parameters=parameters, modules=modules, assume=False).graph
    assert graph is not None
    graph = showing_kept(graph) if shows_kept else graph
    return graph, Backends(graph, backend, Options(memory, frozenset(without)), require)


def run_traced(call: Call, key: str) -> Result:
    """Run one call as an operator: what `torch.compile` sees of it."""
    keys, tensors = flatten(call)
    wanted: list[int] = []
    if torch._C._get_tracing_state() is not None:
        # What is recorded must not hang on what needs a gradient today.
        wanted = [i for i, (k, t) in enumerate(zip(keys, tensors, strict=True)) if may_learn(k, t)]
    elif torch.is_grad_enabled():
        wanted = [i for i, t in enumerate(tensors) if t.requires_grad]
    names = "\n".join([f"{kind} {name}" for kind, name in keys])
    flat = run_forward(list(tensors), key, names, call.training, wanted)
    return result_of(call.graph, tuple(call.history), flat, training=call.training)


@torch.library.custom_op("rnnc::forward", mutates_args=(), schema=f"({_CALL}) -> Tensor[]")
def run_forward(
    tensors: Sequence[Tensor],
    key: str,
    names: str,
    training: bool,
    wanted: Sequence[int],
) -> list[Tensor]:
    """Results, then what is saved: bytes, and a table that says what they are."""
    call, backend = _opened(tensors, key, names, training)
    keys = _keys(names)
    _demand_fit(call, keys, tensors)
    demand_values(call)
    chosen = tuple(keys[i] for i in wanted)
    with torch.no_grad():
        result, saved = forward(backend, call, chosen)
        flat = [tensor.contiguous() for tensor in flat_result(result)]
        if wanted:
            flat += _packed(saved, backend.saves(call, chosen))
        return apart(flat, tensors)


@run_forward.register_fake
def _(
    tensors: Sequence[Tensor],
    key: str,
    names: str,
    training: bool,
    wanted: Sequence[int],
) -> list[Tensor]:
    call, backend = _opened(tensors, key, names, training)
    graph, like, steps, rows = call.graph, like_of(call), call.steps, call.rows
    found = [
        like.new_empty((rows, o.type.size) if o.at_end else (steps, rows, o.type.size))
        for o in graph.outputs
    ]
    found += [value.new_empty(value.shape) for value in call.history.values()]
    if training:
        found += [like.new_empty(steps, rows) for _ in graph.laws]
        found += [like.new_empty(steps, rows, graph.nodes[o.node].size) for o in graph.kept]
    if wanted:
        keys = _keys(names)
        for _ in range(backend.saves(call, tuple(keys[i] for i in wanted))):
            found.append(like.new_empty((_unknown_size(),), dtype=torch.uint8))
        found.append(torch.empty(_unknown_size(), dtype=torch.int64, device="cpu"))
    return found


def _unknown_size() -> int | torch.SymInt:
    """A size that only the numbers tell; any, where sizes have no symbols and nobody will ask."""
    try:
        return torch.library.get_ctx().new_dynamic_size()
    except DynamicOutputShapeException:
        return 0


@torch.library.custom_op(
    "rnnc::backward",
    mutates_args=(),
    schema=f"({_CALL}, Tensor[] saved, Tensor?[] gradients) -> Tensor[]",
)
def run_backward(
    tensors: Sequence[Tensor],
    key: str,
    names: str,
    training: bool,
    wanted: Sequence[int],
    saved: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
) -> list[Tensor]:
    """The gradients that are wanted."""
    call, backend = _opened(tensors, key, names, training)
    keys = _keys(names)
    _demand_fit(call, keys, tensors)
    chosen = tuple(keys[i] for i in wanted)
    with torch.no_grad():
        given = in_memory(call, gradients)
        found = backward(backend, call, chosen, _unpacked(saved), given)
        made = [
            torch.zeros_like(tensors[i], memory_format=torch.contiguous_format)
            if gradient is None
            else gradient.contiguous()
            for i, gradient in zip(wanted, found, strict=True)
        ]
        return apart(made, [*tensors, *saved, *(g for g in gradients if g is not None)])


@run_backward.register_fake
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


def _setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    tensors, *ctx.rest = inputs
    call, _ = _opened(tensors, *ctx.rest[:-1])
    laws = (len(call.graph.laws) + len(call.graph.kept)) * call.training
    ctx.results = len(call.graph.outputs) + len(call.history) + laws
    ctx.count = len(tensors)
    ctx.save_for_backward(*tensors, *output[ctx.results :])
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, gradients: list[Tensor | None]) -> tuple[Any, ...]:
    wanted = ctx.rest[-1]
    inner = ctx.saved_tensors
    tensors, saved = list(inner[: ctx.count]), list(inner[ctx.count :])
    given = list(gradients[: ctx.results])
    if torch.is_grad_enabled():
        call, _ = _opened(tensors, *ctx.rest[:-1])
        needed = [i in wanted for i in range(len(tensors))]
        keys = _keys(ctx.rest[1])
        found = seen_through(call, keys, tensors, needed, given, again=True)
    else:
        found = run_backward(tensors, *ctx.rest, saved, given)
    each: list[Tensor | None] = [None] * len(tensors)
    for i, gradient in zip(wanted, found, strict=True):
        each[i] = gradient
    return (each, *(None for _ in ctx.rest))


run_forward.register_autograd(_differentiate, setup_context=_setup)


def _opened(
    tensors: Sequence[Tensor], key: str, names: str, training: bool
) -> tuple[Call, Backend]:
    graph, backends = backends_of(key)
    empty: dict[str, Tensor] = {}
    bare = Call(graph, empty, empty, empty, empty, empty, {}, None, None, training, 0, 0)
    call = unflatten(bare, _keys(names), tensors)
    # Not said beside the tensors: a trace may keep what is said, and be given others.
    for series in call.inputs.values():
        call = replace(call, steps=series.shape[0], rows=series.shape[1])
    return call, backends.choose(like_of(call))


def _demand_fit(call: Call, keys: Sequence[Key], tensors: Sequence[Tensor]) -> None:
    """Check what a call was checked for when it was traced: a trace may be given anything.

    Raises:
        ValueError: where a tensor is of another shape than the inputs ask for, or has no memory.
    """
    expected = shapes(call)
    for key, tensor in zip(keys, tensors, strict=True):
        if tuple(tensor.shape) != expected[key]:
            raise ValueError(f"{told(key)}: expected {expected[key]}, got {tuple(tensor.shape)}")
        demand_memory(told(key), tensor)


@lru_cache(maxsize=256)
def _keys(names: str) -> tuple[Key, ...]:
    found = (line.partition(" ") for line in names.split("\n"))
    return tuple((kind, name) for kind, _, name in found)


def _packed(saved: Saved, count: int) -> list[Tensor]:
    """`count` tensors of bytes, then the table: how many, notes, dtypes and shapes."""
    table = [len(saved.tensors), len(saved.notes), *saved.notes]
    flat: list[Tensor] = []
    for tensor in saved.tensors:
        table += [_DTYPES.index(tensor.dtype), tensor.dim(), *tensor.shape]
        flat.append(tensor.contiguous().view(-1).view(torch.uint8))
    assert len(flat) <= count, (len(flat), count)
    like = flat[0] if flat else torch.empty(0, dtype=torch.uint8)
    flat += [like.new_empty(0) for _ in range(count - len(flat))]
    return [*flat, torch.tensor(table)]


def _unpacked(saved: Sequence[Tensor]) -> Saved:
    *flat, last = saved
    table = last.tolist()
    count, more = table[:2]
    notes, rest = table[2 : 2 + more], table[2 + more :]
    tensors: list[Tensor] = []
    for tensor in flat[:count]:
        dtype, axes = _DTYPES[rest[0]], rest[1]
        tensors.append(tensor.view(dtype).view(rest[2 : 2 + axes]))
        rest = rest[2 + axes :]
    return Saved(tuple(tensors), tuple(notes))
