"""Choose the number of threads of a training step."""

from __future__ import annotations

import os
from typing import Final

import torch

from rnnc.operators.graph.operator_graph import OperatorGraph

MULTITHREADING_THRESHOLD: Final = 4_000_000
"""Multiplications of a time step above which several threads are faster than one."""


def limit_threads(graph: OperatorGraph, rows: int) -> None:
    """Let torch use one thread for a model with small steps.

    On a free machine a small step is hardly faster on more threads; where other programs run, it is
    many times slower, because threads meet at each step. OMP_NUM_THREADS wins where it is set.
    """
    weights = sum(parameter.numel for parameter in graph.parameters if parameter.is_matrix)
    if "OMP_NUM_THREADS" not in os.environ and weights * rows < MULTITHREADING_THRESHOLD:
        torch.set_num_threads(1)
