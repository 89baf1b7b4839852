"""Load expressions of a tile: addresses in buffers, and values at segment boundaries.

Variables of the surrounding code: see `tile_body`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from rnnc.compiler.backends.cuda.schedule.kernel_partition import StagePartition
from rnnc.compiler.ir.dataflow import BOUNDARY_VALUE_OPS, Operand, Value
from rnnc.compiler.schedule.plan import Buffer, Plan

from .kernel_arguments import (
    ArgumentKind,
    KernelArgument,
    KernelArguments,
    KernelVariant,
    is_full_precision,
)


@dataclass
class TileLoads:
    """The loads of a kernel, and the arguments that they need.

    shared_buffers: buffers that other programs write during the launch.
    """

    partition: StagePartition
    variant: KernelVariant
    shared_buffers: frozenset[int] = frozenset()
    arguments: KernelArguments = field(default_factory=KernelArguments)

    @property
    def plan(self) -> Plan:
        """Return the plan of the stages."""
        return self.partition.plan

    def load_expression(
        self,
        operand: Operand,
        start: int,
        stop: int,
        *,
        columns: str = "u",
        scalar: str = "",
        mask: str = "",
        masked: bool = True,
    ) -> str:
        """Return the load of an operand's entries, replaced outside of the segment.

        columns: the column indices; with the default `u` the entries are `start` to `stop`.
        scalar: the index of a single entry instead.
        mask: the mask of the load; that of the tile by default.
        masked: whether to replace entries from outside of the segment.
        """
        value = self.plan.dataflow.values[operand.value]
        if value.operation == "constant":
            return _literal(float(value.attributes[0]))
        width = 1 if scalar else stop - start if columns == "u" else 0
        if value.rate == "call":
            base = self.arguments.add(KernelArgument(f"c{value.id}", "whole", value.id))
            if width == 1:
                return f"tl.load({base}{offset_suffix(start)}).to(REAL)"
            address = f"{base}{offset_suffix(start)} + ({columns})[None, :]"
            return f"tl.load({address}, mask=column_mask[None, :], other=0.0).to(REAL)"
        base, row, row_size = self._row_location(operand, value)
        if scalar:
            address = f"{base} + ({row} * {row_size} + {scalar})[:, None]"
        elif width == 1:
            address = f"{base} + ({row} * {row_size}{offset_suffix(start)})[:, None]"
        else:
            address = f"{base} + ({row} * {row_size}{offset_suffix(start)})[:, None]"
            address += f" + {columns}[None, :]"
        load_mask = mask or ("row_mask[:, None]" if width == 1 else "tile_mask")
        modifier = self._cache_modifier(operand)
        load = f"tl.load({address}, mask={load_mask}, other=0.0{modifier}).to(REAL)"
        has_boundary_value = value.operation in BOUNDARY_VALUE_OPS
        has_carry = operand.value not in self.plan.dataflow.states_without_carry
        if not masked or not self.variant.may_cross_segment(
            operand.delay, has_boundary_value=has_boundary_value, has_carry=has_carry
        ):
            return load
        boundary_value = "0.0"
        if value.operation == "state":
            boundary_value = self.initial_expression(
                value, start, 1 if scalar else width, columns, scalar, mask or "tile_mask"
            )
        same_segment = self.same_segment_mask(operand.delay, has_carry=has_carry)
        return f"tl.where({same_segment}, {load}, {boundary_value})"

    def valid_mask(self) -> str:
        """Return the mask (rows, 1) of rows that have not ended at this step."""
        name = self.arguments.add(KernelArgument("valid", "valid"))
        return f"(tl.load({name} + row, mask=row_mask, other=0) != 0)[:, None]"

    def same_segment_mask(self, delay: int, *, has_carry: bool = True) -> str:
        """Return the mask (rows, 1) of rows whose step `delay` ago is in the same segment."""
        kind: ArgumentKind = "same_segment"
        if not has_carry and delay >= 0:
            kind = "same_segment_no_carry"
        name = self.arguments.add(KernelArgument(f"{kind}_{delay_suffix(delay)}", kind, delay))
        return f"(tl.load({name} + row, mask=row_mask, other=0) != 0)[:, None]"

    def initial_expression(
        self,
        value: Value,
        start: int,
        width: int,
        columns: str,
        scalar: str = "",
        mask: str = "tile_mask",
    ) -> str:
        """Return the load of a state's initial value, which precedes the segment."""
        name = str(value.attributes[0])
        value_id = value.id
        base = self.arguments.add(KernelArgument(f"initial_{value_id}", "initial", name))
        state = next(s for s in self.plan.dataflow.graph.states if s.name == name)
        is_drawn_per_step = state.initial_value.kind == "uniform" and self.variant.resets
        address = f"{'row' if is_drawn_per_step else 'b'} * {value.shape[0]}"
        if scalar or width == 1:
            address = (
                f"({address} + {scalar})[:, None]"
                if scalar
                else f"({address}{offset_suffix(start)})[:, None]"
            )
            return f"tl.load({base} + {address}, mask=row_mask[:, None], other=0.0).to(REAL)"
        address = f"({address}{offset_suffix(start)})[:, None] + {columns}[None, :]"
        return f"tl.load({base} + {address}, mask={mask}, other=0.0).to(REAL)"

    def _row_location(self, operand: Operand, value: Value) -> tuple[str, str, int]:
        """Return (base pointer, row index, entries per row) of an operand with rows."""
        region = self.plan.regions[operand.value]
        if value.rate == "row":
            base = self.arguments.add(KernelArgument(f"a{value.id}", "whole", value.id))
            return base, "b", value.shape[0]
        if region is not None:
            buffer = self.plan.buffers[region.buffer]
            base = f"b{region.buffer}{offset_suffix(region.offset)}"
            if buffer.extent == "step":
                self.buffer_argument(buffer)
                return base, "b", buffer.width
            if 0 <= buffer.steps_before - operand.delay <= buffer.steps_before + buffer.steps_after:
                self.buffer_argument(buffer)
                return base, shifted_row(buffer.steps_before - operand.delay), buffer.width
        suffix = f"_{delay_suffix(operand.delay)}" if operand.delay else ""
        name = self.arguments.add(KernelArgument(f"x{value.id}{suffix}", "series", operand))
        return name, "row", value.shape[0]

    def _cache_modifier(self, operand: Operand) -> str:
        """Return the modifier that bypasses the L1 cache for buffers of other programs.

        The L1 caches of multiprocessors are not coherent; `.cg` reads from L2.
        """
        region = self.plan.regions[operand.value]
        is_shared = region is not None and region.buffer in self.shared_buffers
        return ', cache_modifier=".cg"' if is_shared else ""

    def buffer_argument(self, buffer: Buffer) -> str:
        """Register a buffer as an argument, and return its name."""
        buffer_id = buffer.id
        return self.arguments.add(
            KernelArgument(f"b{buffer_id}", "buffer", buffer_id, is_full_precision(buffer))
        )


def delay_suffix(delay: int) -> str:
    """Return a delay as part of a name."""
    return f"{abs(delay)}_{'ahead' if delay < 0 else 'ago'}"


def _literal(number: float) -> str:
    if math.isfinite(number):
        return f"({number!r})" if number < 0 else repr(number)
    if number != number:
        return 'float("nan")'
    return f'float("{"inf" if number > 0 else "-inf"}")'


def offset_suffix(offset: int) -> str:
    """Return an offset as a summand, or "" for zero."""
    return f" + {offset}" if offset else ""


def shifted_row(steps: int) -> str:
    """Return the row index in a series, some steps further on."""
    if not steps:
        return "row"
    return f"(row + {'' if steps == 1 else f'{steps} * '}B)"
