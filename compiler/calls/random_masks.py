"""Draw all random numbers of a call before a backend runs, so that all backends agree."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rnnc.operators.graph.operator_graph import OperatorGraph


def draw_masks(graph: OperatorGraph, steps: int, rows: int, like: Tensor) -> dict[int, Tensor]:
    """Draw the masks of dropout, variational dropout and zoneout, in the order of nodes."""
    masks: dict[int, Tensor] = {}
    for node in graph.random_nodes:
        p = float(node.attributes[0])
        shape = (rows, node.size) if node.operation == "variational" else (steps, rows, node.size)
        uniform = torch.rand(shape, dtype=torch.float32, device=like.device)
        if node.operation == "zoneout":
            masks[node.id] = uniform < p
        else:
            masks[node.id] = (uniform >= p).to(like.dtype) / (1 - p)
    return masks


def apply_weight_drop(graph: OperatorGraph, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Apply weight-drop to parameters (Wan et al. 2013; Merity et al. 2018)."""
    effective = dict(parameters)
    for parameter in graph.parameters:
        p = parameter.weightdrop
        if p:
            value = parameters[parameter.name]
            kept = torch.rand(value.shape, dtype=torch.float32, device=value.device) >= p
            effective[parameter.name] = value * kept.to(value.dtype) / (1 - p)
    return effective


def draw_initial_values(
    graph: OperatorGraph, steps: int, rows: int, like: Tensor
) -> dict[str, Tensor]:
    """Draw initial values (T, B, n) for segments after a reset, for states with random ones."""
    return {
        state.name: like.new_empty(steps, rows, state.type.size).uniform_(
            state.initial_value.low, state.initial_value.high
        )
        for state in graph.states
        if state.initial_value.kind == "uniform"
    }
