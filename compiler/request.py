"""The key of a plan: with or without training, which gradients, which incoming cotangents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rnnc.operators.graph.operator_graph import OperatorGraph

MemoryPolicy = Literal["save", "recompute"]


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """The part of a call that a plan depends on; all else (T, B, lengths, resets) is free.

    training: masks are drawn and laws evaluated.
    gradients: (kind, name) of each gradient to compute; kinds as in `dataflow.Gradient`.
    cotangents: (kind, name) of each result with an incoming cotangent: `output` and its name, `law`
        or `kept` and its index, `history` and the name of a state or input.
    memory: `save` keeps all residuals; `recompute` keeps only states, inputs and results of scans,
        and rematerializes the others.
    sink_elementwise: elementwise work for a single loop is done inside of it (in registers of a
        generated kernel) instead of for all steps at once.
    without: names of passes to skip.
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
    """Return the usual request of a training step: gradients of all parameters not frozen.

    It includes learned initial values and, on demand, `inputs` and the `carry`.
    """
    gradients = [
        ("parameter", p.name)
        for p in graph.parameters
        if not p.is_frozen and not p.name.startswith("init.")
    ]
    states = [s for s in graph.states if s.node not in graph.backward_nodes]
    gradients += [("initial", s.name) for s in graph.states if s.initial_value.kind == "learned"]
    learned = {s.name for s in states if s.initial_value.kind == "learned"}
    gradients += [("history", s.name) for s in states if carry or s.name in learned]
    if inputs:
        gradients += [("input", i.name) for i in graph.inputs if i.type.kind != "symbol"]
    return PlanRequest(
        training=True,
        gradients=tuple(gradients),
        cotangents=all_cotangents(graph),
        memory=memory,
        sink_elementwise=sink_elementwise,
        without=frozenset(without),
    )


def all_cotangents(graph: OperatorGraph) -> frozenset[tuple[str, str]]:
    """Return (kind, name) of every result that may have an incoming cotangent."""
    cotangents = {("output", output.name) for output in graph.outputs}
    cotangents |= {("law", str(index)) for index in range(len(graph.laws))}
    cotangents |= {("kept", str(index)) for index in range(len(graph.loss_inputs))}
    cotangents |= {("history", s.name) for s in graph.states if s.node not in graph.backward_nodes}
    cotangents |= {
        ("history", i.name) for i in graph.inputs if i.max_delay and i.type.kind != "symbol"
    }
    return frozenset(cotangents)
