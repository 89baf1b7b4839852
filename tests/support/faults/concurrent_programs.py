"""Run the programs of a Triton grid concurrently in the interpreter, one process each.

By itself the interpreter runs one program after the other, and the first one would wait forever.
"""

from __future__ import annotations

import os
from itertools import product
from typing import Any

from rnnc.compiler.backends.cuda.codegen.grid_barrier import MAX_POLLS


def run_concurrently(
    start: Any,
    levels: int,
    groups: int,
    size: tuple[int, int],
    launches: Any,
    device: Any,
    *,
    at_once: bool = True,
) -> None:
    """Run a grid as `run_grid` does, with one process for each program."""
    counters = launches.allocate_counters(groups, device)
    for tensor in (*start.tensors, counters):
        tensor.share_memory_()
    ended, children = [], []
    for place in product(*map(range, start.grid)):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                _restrict_to_program(place, start.grid)
                kernel = start.function[1, 1]
                arguments = (*size, 0, size[0], MAX_POLLS, counters)
                kernel(*arguments, *start.tensors, **start.options, LEVEL=-1)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
        if not at_once:
            ended += [_wait_for_exit(children.pop())]
    ended += [_wait_for_exit(child) for child in children]
    assert not any(ended), ended
    launches.track(counters)


def _wait_for_exit(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _restrict_to_program(place: tuple[int, ...], grid: tuple[int, ...]) -> None:
    """Let the interpreter run one program, with the ids of one of many."""
    from triton.runtime.interpreter import InterpreterBuilder

    set_place, set_grid = InterpreterBuilder.set_grid_idx, InterpreterBuilder.set_grid_dim
    InterpreterBuilder.set_grid_idx = lambda builder, *position: set_place(builder, *place, 0)
    InterpreterBuilder.set_grid_dim = lambda builder, *of: set_grid(builder, *grid, 1)
