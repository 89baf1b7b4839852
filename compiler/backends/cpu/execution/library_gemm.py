"""Products that torch takes: into the rows of a value, or as sums over all rows."""

from __future__ import annotations

import torch
from torch import Tensor

from rnnc.compiler.backends.cpu.schedule.gemm_candidates import GemmDestination
from rnnc.compiler.backends.cpu.schedule.weight_grad_groups import WeightGradGroup
from rnnc.compiler.ir.dataflow import Operand

from .argument_binding import ArgumentBindings, RowBuffer


def run_library_gemm(bindings: ArgumentBindings, destination: GemmDestination) -> None:
    """Matrices times the rows of all steps, added up where a stage will find them."""
    series = bindings.get(destination.value)
    assert isinstance(series, RowBuffer)
    out = series.view(bindings.sequence.row_count)
    more: Tensor | None = None
    if destination.bias >= 0:
        bias = bindings.get(destination.bias)
        assert isinstance(bias, Tensor)
        more = bias
    for term in destination.matmuls:
        weight = bindings.get(term.weight)
        assert isinstance(weight, Tensor)
        matrix = weight if term.transposed else weight.t()
        rows = bindings.packed_rows(term.vector)
        if more is None:
            torch.mm(rows, matrix, out=out)
        else:
            torch.addmm(more, rows, matrix, out=out)
        more = out


def run_library_weight_grads(bindings: ArgumentBindings, group: WeightGradGroup) -> None:
    """Sums of outer products over all rows."""
    rows = {read: _rows(bindings, read) for read in (*group.left, *group.right)}
    for value in group.sums:
        left, right = value.operands
        out = bindings.bound_values[value.id]
        assert isinstance(out, Tensor)
        torch.mm(rows[left].t(), rows[right], out=out)


def _rows(bindings: ArgumentBindings, read: Operand) -> Tensor:
    """All rows of what is read: of a state some steps earlier a view, its history in front."""
    known, rows = bindings.get(read.value), bindings.sequence
    back = read.delay * rows.batch_size
    if isinstance(known, RowBuffer) and rows.is_uniform and 0 < back <= known.first_row:
        return RowBuffer(known.buffer, known.first_row - back, known.width).view(rows.row_count)
    return bindings.packed_rows(read)
