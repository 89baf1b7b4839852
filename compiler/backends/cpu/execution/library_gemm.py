"""Products that torch takes: into the rows of a value, or as sums over all rows."""

from __future__ import annotations

import torch
from torch import Tensor

from rnnc.compiler.backends.cpu.schedule.gemm_candidates import Landing
from rnnc.compiler.backends.cpu.schedule.weight_grad_groups import Group
from rnnc.compiler.ir.dataflow import Read

from .argument_binding import Bindings, Series


def take_products(bindings: Bindings, landing: Landing) -> None:
    """Matrices times the rows of all steps, added up where a stage will find them."""
    series = bindings.get(landing.value)
    assert isinstance(series, Series)
    out = series.all(bindings.rows.total)
    more: Tensor | None = None
    if landing.bias >= 0:
        bias = bindings.get(landing.bias)
        assert isinstance(bias, Tensor)
        more = bias
    for term in landing.terms:
        weight = bindings.get(term.weight)
        assert isinstance(weight, Tensor)
        matrix = weight if term.transposed else weight.t()
        rows = bindings.rows_of(term.vector)
        if more is None:
            torch.mm(rows, matrix, out=out)
        else:
            torch.addmm(more, rows, matrix, out=out)
        more = out


def take_sums(bindings: Bindings, group: Group) -> None:
    """Sums of outer products over all rows."""
    rows = {read: _rows(bindings, read) for read in (*group.left, *group.right)}
    for value in group.sums:
        left, right = value.operands
        out = bindings.known[value.number]
        assert isinstance(out, Tensor)
        torch.mm(rows[left].t(), rows[right], out=out)


def _rows(bindings: Bindings, read: Read) -> Tensor:
    """All rows of what is read: of a state some steps earlier a view, its history in front."""
    known, rows = bindings.get(read.value), bindings.rows
    back = read.delay * rows.rows
    if isinstance(known, Series) and rows.is_plain and 0 < back <= known.base:
        return Series(known.buffer, known.base - back, known.width).all(rows.total)
    return bindings.rows_of(read)
