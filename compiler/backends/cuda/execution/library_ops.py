"""What torch's own library computes: products over all steps, sums, look-ups, once-a-call work."""

from __future__ import annotations

import torch
from torch import Tensor

from rnnc.compiler.backends.aten.batched_phase import LATE, fresh, summed
from rnnc.compiler.backends.aten.op_table import onehot
from rnnc.compiler.backends.aten.window_phase import window_for_all
from rnnc.compiler.backends.cuda.codegen.stage_kernels import is_generated
from rnnc.compiler.ir.dataflow import Value
from rnnc.compiler.ir.ops import SUMS, WINDOWS
from rnnc.compiler.schedule.plan import Group

from .buffers import CudaMemory


def run_library(group: Group, memory: CudaMemory) -> None:
    """Compute those values of a batched group that no generated kernel computes."""
    for number in (*group.wide, *(n for n in group.fused if not is_generated(memory.plan, n))):
        value = memory.values[number]
        if value.operation in LATE:
            memory.put(number, LATE[value.operation](value, memory))
        elif value.rate != "step":
            memory.put(number, _once(value, memory))
        elif value.operation in WINDOWS:
            window_for_all(value, memory, memory.out(number))
        else:
            _series(value, memory)


def _operands(value: Value, memory: CudaMemory) -> list[Tensor]:
    """Operands in the model's type: what is carried in a wider one is rounded here."""
    found = [memory.read(read) for read in value.operands]
    return [o.to(memory.like.dtype) if o.is_floating_point() else o for o in found]


def _once(value: Value, memory: CudaMemory) -> Tensor:
    operands = _operands(value, memory)
    return summed(value, operands, memory) if value.operation in SUMS else fresh(value, operands)


def _series(value: Value, memory: CudaMemory) -> None:
    out, operands = memory.out(value.number), _operands(value, memory)
    if value.operation == "matmul" and operands[0].dim() == 2 and out.dtype == operands[0].dtype:
        weight = operands[0] if value.attributes[0] else operands[0].t()
        rows = operands[1].expand(*out.shape[:2], operands[1].shape[-1])
        torch.mm(rows.flatten(0, 1), weight, out=out.flatten(0, 1))
    elif value.operation == "onehot":
        out.copy_(onehot(operands[0], value.shape[0]))
    else:
        out.copy_(fresh(value, operands))
