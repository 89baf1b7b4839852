"""Library GEMM: matmul sums and weight gradients that torch computes instead of generated code."""

from __future__ import annotations

import torch
from torch import Tensor

from rnnc.compiler.backends.cpu.schedule.gemm_candidates import GemmDestination
from rnnc.compiler.backends.cpu.schedule.weight_grad_groups import WeightGradGroup
from rnnc.compiler.ir.dataflow import Operand

from .argument_binding import ArgumentBindings
from .row_buffer import RowBuffer


def run_library_gemm(bindings: ArgumentBindings, destination: GemmDestination) -> None:
    """Add up matrices times the rows of all steps, into the buffer that the kernel reads."""
    target = bindings.get(destination.value)
    assert isinstance(target, RowBuffer)
    out = target.view(bindings.sequence.row_count)
    addend: Tensor | None = None
    if destination.bias >= 0:
        bias = bindings.get(destination.bias)
        assert isinstance(bias, Tensor)
        addend = bias
    for term in destination.matmuls:
        weight = bindings.get(term.weight)
        assert isinstance(weight, Tensor)
        matrix = weight if term.transposed else weight.t()
        rows = bindings.packed_rows(term.vector)
        if addend is None:
            torch.mm(rows, matrix, out=out)
        else:
            torch.addmm(addend, rows, matrix, out=out)
        addend = out


def run_library_weight_grads(bindings: ArgumentBindings, group: WeightGradGroup) -> None:
    """Compute sums of outer products over all rows as matmuls."""
    rows = {operand: _operand_rows(bindings, operand) for operand in (*group.left, *group.right)}
    for value in group.sums:
        left, right = value.operands
        out = bindings.bound_values[value.id]
        assert isinstance(out, Tensor)
        torch.mm(rows[left].t(), rows[right], out=out)


def _operand_rows(bindings: ArgumentBindings, operand: Operand) -> Tensor:
    """Return all rows of an operand; delayed ones as a view where the carry lies in front."""
    bound, sequence = bindings.get(operand.value), bindings.sequence
    shift = operand.delay * sequence.batch_size
    if isinstance(bound, RowBuffer) and sequence.is_uniform and 0 < shift <= bound.first_row:
        shifted = RowBuffer(bound.buffer, bound.first_row - shift, bound.width)
        return shifted.view(sequence.row_count)
    return bindings.packed_rows(operand)
