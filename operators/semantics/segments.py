"""Segments: a read outside its reader's segment gives the initial value.

A sequence is cut into segments by its start, by resets, and by its length. The initial value of
a state is declared; that of an input is 0, or no symbol.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .call import Call


class Segments:
    """Bounds of the segments of one call, and reads that respect them."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.like = self._first_floating_tensor(call)
        self._states = call.graph.states_by_node
        self._names = {state.node: state.name for state in call.graph.states}
        self._names |= {variable.node: variable.name for variable in call.graph.inputs}
        device = self.like.device
        step_index = torch.arange(call.steps, device=device).unsqueeze(-1)
        full_length = torch.full((call.batch_size,), call.steps, device=device)
        self.lengths = full_length if call.lengths is None else call.lengths
        self.valid = step_index < self.lengths
        """(T, B): true where a row has a step t."""
        far = torch.full((call.steps, call.batch_size), call.steps, device=device)
        # A segment of an earlier call starts before any carry.
        self.start, self.end = torch.full_like(far, -(2**62)), far
        if call.resets is not None and call.steps:
            reset_steps = torch.where(call.resets, step_index.expand_as(far), self.start)
            self.start = reset_steps.cummax(0).values
            next_resets = torch.where(call.resets, step_index.expand_as(far), far)
            next_resets = torch.cat([next_resets[1:], far[:1]])
            self.end = next_resets.flip(0).cummin(0).values.flip(0)
        self.end = torch.minimum(self.end, self.lengths.expand_as(self.end))
        self._initial: dict[str, list[Tensor]] = {}

    @staticmethod
    def _first_floating_tensor(call: Call) -> Tensor:
        tensors = [*call.parameters.values(), *call.initial_values.values(), *call.inputs.values()]
        return next((t for t in tensors if t.is_floating_point()), torch.empty(0))

    def constant(self, value: float, size: int) -> Tensor:
        """Return a constant vector in the dtype and on the device of the call."""
        return self.like.new_full((size,), value)

    def batch_shape(self, values: list[Tensor]) -> tuple[int, ...]:
        """Return the leading shape that values of different ranks broadcast to."""
        return (self.call.batch_size,) if any(value.dim() > 1 for value in values) else ()

    def repeat_last_step(self, series: Tensor) -> Tensor:
        """Repeat an input's last step in the steps past a row's length.

        The caller's padding (NaN, for example) must affect neither values nor gradients.
        """
        if self.call.lengths is None or not self.call.steps:
            return series
        step = torch.arange(self.call.steps, device=series.device).unsqueeze(-1)
        index = torch.minimum(step, (self.lengths - 1).clamp(min=0))
        empty = self.lengths == 0
        if series.dim() == 2:
            return series.gather(0, index).masked_fill(empty, -1)
        index = index.unsqueeze(-1).expand_as(series)
        return torch.where(empty.unsqueeze(-1), torch.zeros_like(series), series.gather(0, index))

    def fill_past_end(self, value: Tensor, t: int) -> Tensor:
        """Set an operand at step t to 1 in rows that have ended.

        Nothing reads these rows, but a gradient of 0 times an infinite slope (of the logarithm of
        zeros, for example) is NaN. At 1 no slope is infinite.
        """
        if self.call.lengths is None or not value.is_floating_point():
            return value
        return torch.where(self.valid[t].unsqueeze(-1), value, torch.ones_like(value))

    def initial_value_at(self, name: str, t: int) -> Tensor:
        """Return (B, n): a state's value before the segment of step t."""
        if name not in self._initial:
            value = self.call.initial_values[name]
            values: list[Tensor] = []
            drawn = self.call.reset_values.get(name)
            for step in range(self.call.steps):
                if drawn is not None and self.call.resets is not None:
                    reset = self.call.resets[step].unsqueeze(-1)
                    value = torch.where(reset, drawn[step], value)
                values.append(value)
            self._initial[name] = values
        return self._initial[name][t]

    def read_delayed(self, node: int, series: list[Tensor], t: int, delay: int) -> Tensor:
        """Return the value of a variable `delay` steps before step t (negative: after)."""
        source = t - delay
        if source >= len(series):
            return self._boundary_value(node, t)
        if source < 0:
            carry = self.call.carry.get(self._names[node])
            if carry is None:
                return self._boundary_value(node, t)  # a state that runs backward has no past
            value = carry[len(carry) + source]
        else:
            value = series[source]
        if delay > 0 and self.call.resets is None:
            return value
        in_segment = source < self.end[t] if delay < 0 else source >= self.start[t]
        boundary_value = self._boundary_value(node, t)
        return torch.where(
            in_segment if value.dim() == 1 else in_segment.unsqueeze(-1), value, boundary_value
        )

    def read_window_row(
        self, node: int, series: list[Tensor], t: int, delay: int
    ) -> tuple[Tensor | None, Tensor]:
        """Return a row of the window of step t, and (B,): true where it exists.

        The value is not replaced in other segments; it is None outside of all steps and the carry.
        """
        source = t - delay
        absent = torch.zeros_like(self.valid[t])
        if source < 0:
            carry = self.call.carry.get(self._names[node])
            if carry is None or len(carry) + source < 0:
                return None, absent
            value = carry[len(carry) + source]
        elif source >= len(series):
            return None, absent
        else:
            value = series[source]
        start = self.start[t]
        if self.call.age is not None:
            start = torch.where(start < 0, -self.call.age, start)
        return value, (source >= start) & (source < self.end[t])

    def _boundary_value(self, node: int, t: int) -> Tensor:
        name = self._names[node]
        if node in self._states:
            return self.initial_value_at(name, t)
        value = self.call.inputs[name][t]
        return torch.full_like(value, -1) if value.dim() == 1 else torch.zeros_like(value)

    def hold_past_end(
        self, node: int, value: Tensor, t: int, series: Tensor | list[Tensor]
    ) -> Tensor:
        """Return a state's new value; a row that has ended keeps its last one."""
        name = self._names[node]
        value = value.expand(self.call.batch_size, value.shape[-1])
        if self.call.lengths is None:
            return value
        if name not in self.call.carry:
            last_value = self.initial_value_at(name, t)
        elif t:
            last_value = series[t - 1]
        else:
            last_value = self.call.carry[name][-1]
        return torch.where(self.valid[t].unsqueeze(-1), value, last_value)

    def last_step(self, series: Tensor) -> Tensor:
        """Return (B, m): each row's value at its last step; 0 for empty rows."""
        if not self.call.steps:
            return series.new_zeros(self.call.batch_size, series.shape[-1])
        index = (self.lengths - 1).clamp(min=0)
        values = series.gather(0, index.view(1, -1, 1).expand(1, -1, series.shape[-1]))[0]
        return torch.where((self.lengths > 0).unsqueeze(-1), values, torch.zeros_like(values))

    def next_carry(self, node: int, series: list[Tensor]) -> Tensor:
        """Return each row's last values of a variable, replaced before its last reset."""
        name = self._names[node]
        carry = self.call.carry[name]
        if not self.call.steps:
            return carry.clone()
        count = len(carry)
        timeline = torch.cat([carry, torch.stack(series)])
        offsets = torch.arange(count, device=timeline.device).unsqueeze(-1)
        index = offsets + self.lengths
        gather_index = (
            index if timeline.dim() == 2 else index.unsqueeze(-1).expand(-1, -1, timeline.shape[-1])
        )
        values = timeline.gather(0, gather_index)
        if self.call.resets is None:
            return values
        end = (self.lengths - 1).clamp(min=0)
        start = self.start.gather(0, end.unsqueeze(0))
        in_segment = (index - count >= start) | (self.lengths == 0)
        boundary_values = torch.stack(
            [self._boundary_value(node, t) for t in range(self.call.steps)]
        )
        end_index = (
            end.view(1, -1)
            if timeline.dim() == 2
            else end.view(1, -1, 1).expand(1, -1, timeline.shape[-1])
        )
        replaced = boundary_values.gather(0, end_index).expand_as(values)
        return torch.where(
            in_segment if timeline.dim() == 2 else in_segment.unsqueeze(-1), values, replaced
        )
