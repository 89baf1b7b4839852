"""What a plan is asked for: with chance or without, which gradients, from which outputs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rnnc.operators.graph.operator_graph import OperatorGraph

MemoryPolicy = Literal["save", "recompute"]


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """The part of a call that a plan depends on; all else (T, B, lengths, resets) is free.

    training: whether masks are drawn and laws evaluated.
    gradients: (kind, name) of each gradient that is wanted; kinds as in `flow.Gradient`.
    cotangents: (kind, name) of each result that a gradient comes in for: `output` and its name, `law`
        or `kept` and its index, `history` and the name of a state or input.
    memory: `save` keeps what the backward pass reads; `recompute` keeps only products, states and
        inputs, and computes what is elementwise again.
    sink_elementwise: whether elementwise work outside of a loop, for one loop alone, is done inside it (a
        generated kernel has it in registers) or for all steps at once.
    without: names of passes that are switched off.
    """

    training: bool = True
    gradients: tuple[tuple[str, str], ...] = ()
    cotangents: frozenset[tuple[str, str]] = frozenset()
    memory: MemoryPolicy = "save"
    sink_elementwise: bool = False
    without: frozenset[str] = frozenset()


def training_request(
    graph: OperatorGraph,
    *,
    inputs: bool = False,
    carry: bool = False,
    memory: MemoryPolicy = "save",
    sink_elementwise: bool = False,
    without: Iterable[str] = (),
) -> PlanRequest:
    """The usual request of a training step: gradients of all parameters that are not frozen.

    Also of learned initial values, and, if asked for, of `inputs` and of carried `carry`.
    """
    wanted = [
        ("parameter", p.name)
        for p in graph.parameters
        if not p.is_frozen and not p.name.startswith("init.")
    ]
    states = [s for s in graph.states if s.node not in graph.backward_nodes]
    wanted += [("initial", s.name) for s in graph.states if s.initial_value.kind == "learned"]
    learned = {s.name for s in states if s.initial_value.kind == "learned"}
    wanted += [("history", s.name) for s in states if carry or s.name in learned]
    if inputs:
        wanted += [("input", i.name) for i in graph.inputs if i.type.kind != "symbol"]
    return PlanRequest(
        training=True,
        gradients=tuple(wanted),
        cotangents=all_cotangents(graph),
        memory=memory,
        sink_elementwise=sink_elementwise,
        without=frozenset(without),
    )


def all_cotangents(graph: OperatorGraph) -> frozenset[tuple[str, str]]:
    """Every result that a gradient may come in for."""
    seeds = {("output", output.name) for output in graph.outputs}
    seeds |= {("law", str(index)) for index in range(len(graph.laws))}
    seeds |= {("kept", str(index)) for index in range(len(graph.loss_inputs))}
    seeds |= {("history", s.name) for s in graph.states if s.node not in graph.backward_nodes}
    seeds |= {("history", i.name) for i in graph.inputs if i.max_delay and i.type.kind != "symbol"}
    return frozenset(seeds)
