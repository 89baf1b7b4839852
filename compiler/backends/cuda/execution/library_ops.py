"""Run the operations of a batched phase that torch's library computes.

These are matmuls over all T·B rows, reductions, table lookups, windows and per-call values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rnnc.compiler.backends.aten.batched_phase import (
    BOUNDARY_GRADIENTS,
    evaluate,
    reduce_over_steps,
)
from rnnc.compiler.backends.aten.op_table import onehot
from rnnc.compiler.backends.aten.window_phase import compute_window
from rnnc.compiler.backends.cuda.codegen.stage_kernels import has_generated_kernel
from rnnc.compiler.ir.dataflow import Value
from rnnc.compiler.ir.ops import REDUCTION_OPS, WINDOW_OPS
from rnnc.compiler.schedule.plan import FusionGroup

from .buffers import CudaMemory


def run_library_ops(group: FusionGroup, memory: CudaMemory) -> None:
    """Compute the values of a fusion group that no generated kernel computes."""
    epilogue = [i for i in group.epilogue if not has_generated_kernel(memory.plan, i)]
    for value_id in (*group.roots, *epilogue):
        value = memory.values[value_id]
        if value.operation in BOUNDARY_GRADIENTS:
            memory.bind(value_id, BOUNDARY_GRADIENTS[value.operation](value, memory))
        elif value.rate != "step":
            memory.bind(value_id, _run_per_call(value, memory))
        elif value.operation in WINDOW_OPS:
            compute_window(value, memory, memory.output(value_id))
        else:
            _run_series(value, memory)


def _read_operands(value: Value, memory: CudaMemory) -> list[Tensor]:
    """Load the operands of a value, rounded from float32 buffers to the model's dtype."""
    operands = [memory.load(operand) for operand in value.operands]
    return [o.to(memory.like.dtype) if o.is_floating_point() else o for o in operands]


def _run_per_call(value: Value, memory: CudaMemory) -> Tensor:
    operands = _read_operands(value, memory)
    if value.operation in REDUCTION_OPS:
        return reduce_over_steps(value, operands, memory)
    return evaluate(value, operands)


def _run_series(value: Value, memory: CudaMemory) -> None:
    out, operands = memory.output(value.id), _read_operands(value, memory)
    if value.operation == "matmul" and operands[0].dim() == 2 and out.dtype == operands[0].dtype:
        weight = operands[0] if value.attributes[0] else operands[0].t()
        rows = operands[1].expand(*out.shape[:2], operands[1].shape[-1])
        torch.mm(rows.flatten(0, 1), weight, out=out.flatten(0, 1))
    elif value.operation == "onehot":
        out.copy_(onehot(operands[0], value.shape[0]))
    else:
        out.copy_(evaluate(value, operands))
