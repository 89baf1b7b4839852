"""The one rule of time: a read outside of its reader's own segment gives the initial value.

A sequence is cut into segments by its start, by resets, and by its length. For a state the initial
value is what its declaration says; for an input it is nothing: zero, or no symbol.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .call import Call


class Segments:
    """Knows, for one call, which steps belong together, and reads accordingly."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.like = self._first_floating_tensor(call)
        self._states = call.graph.states_by_node
        self._names = {state.node: state.name for state in call.graph.states}
        self._names |= {variable.node: variable.name for variable in call.graph.inputs}
        device = self.like.device
        step = torch.arange(call.steps, device=device).unsqueeze(-1)
        whole = torch.full((call.batch_size,), call.steps, device=device)
        self.lengths = whole if call.lengths is None else call.lengths
        self.valid = step < self.lengths
        """(T, B): whether a row still has a step t."""
        far = torch.full((call.steps, call.batch_size), call.steps, device=device)
        # Further back than any history: a segment that began in an earlier call.
        self.start, self.end = torch.full_like(far, -(2**62)), far
        if call.resets is not None and call.steps:
            hit = torch.where(call.resets, step.expand_as(far), self.start)
            self.start = hit.cummax(0).values
            after = torch.where(call.resets, step.expand_as(far), far)
            after = torch.cat([after[1:], far[:1]])
            self.end = after.flip(0).cummin(0).values.flip(0)
        self.end = torch.minimum(self.end, self.lengths.expand_as(self.end))
        self._initial: dict[str, list[Tensor]] = {}

    @staticmethod
    def _first_floating_tensor(call: Call) -> Tensor:
        tensors = [*call.parameters.values(), *call.initial_values.values(), *call.inputs.values()]
        return next((t for t in tensors if t.is_floating_point()), torch.empty(0))

    def constant(self, value: float, size: int) -> Tensor:
        """A constant vector."""
        return self.like.new_full((size,), value)

    def batch_shape(self, values: list[Tensor]) -> tuple[int, ...]:
        """The shape in front of the last axis that values of different ranks share."""
        return (self.call.batch_size,) if any(value.dim() > 1 for value in values) else ()

    def repeat_last_step(self, series: Tensor) -> Tensor:
        """An input whose steps past a row's length repeat its last one.

        What a caller leaves there (NaN, say) must touch neither values nor gradients.
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
        """An operand at step t: 1 in rows that have ended.

        Nobody asks for what is computed there; but of a slope that is infinite (of the logarithm of
        an empty row's zeros, say) not even a gradient of zero gives zero. At 1 no slope is.
        """
        if self.call.lengths is None or not value.is_floating_point():
            return value
        return torch.where(self.valid[t].unsqueeze(-1), value, torch.ones_like(value))

    def initial_value_at(self, name: str, t: int) -> Tensor:
        """(B, n): what a state is before the segment that step t belongs to."""
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
        """The value of a variable `delay` steps before step t (negative: after)."""
        source = t - delay
        if source >= len(series):
            return self._boundary_value(node, t)
        if source < 0:
            history = self.call.carry.get(self._names[node])
            if history is None:
                return self._boundary_value(node, t)  # a state that runs backward has no past
            value = history[len(history) + source]
        else:
            value = series[source]
        if delay > 0 and self.call.resets is None:
            return value
        belongs = source < self.end[t] if delay < 0 else source >= self.start[t]
        outside = self._boundary_value(node, t)
        return torch.where(belongs if value.dim() == 1 else belongs.unsqueeze(-1), value, outside)

    def read_window_row(
        self, node: int, series: list[Tensor], t: int, delay: int
    ) -> tuple[Tensor | None, Tensor]:
        """A row of a window that step t looks through, and (B,): whether it is there.

        The row is the value as it is, also where it belongs to another segment; None where there
        is none at all.
        """
        source = t - delay
        nowhere = torch.zeros_like(self.valid[t])
        if source < 0:
            history = self.call.carry.get(self._names[node])
            if history is None or len(history) + source < 0:
                return None, nowhere
            value = history[len(history) + source]
        elif source >= len(series):
            return None, nowhere
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
        """A state's new value, held still where a row has ended."""
        name = self._names[node]
        value = value.expand(self.call.batch_size, value.shape[-1])
        if self.call.lengths is None:
            return value
        if name not in self.call.carry:
            held = self.initial_value_at(name, t)
        elif t:
            held = series[t - 1]
        else:
            held = self.call.carry[name][-1]
        return torch.where(self.valid[t].unsqueeze(-1), value, held)

    def last_step(self, series: Tensor) -> Tensor:
        """(B, m): each row's value at its last step; zero for rows without any."""
        if not self.call.steps:
            return series.new_zeros(self.call.batch_size, series.shape[-1])
        index = (self.lengths - 1).clamp(min=0)
        chosen = series.gather(0, index.view(1, -1, 1).expand(1, -1, series.shape[-1]))[0]
        return torch.where((self.lengths > 0).unsqueeze(-1), chosen, torch.zeros_like(chosen))

    def next_carry(self, node: int, series: list[Tensor]) -> Tensor:
        """The last values of a variable in each row, those before a reset already replaced."""
        name = self._names[node]
        before = self.call.carry[name]
        if not self.call.steps:
            return before.clone()
        keep = len(before)
        line = torch.cat([before, torch.stack(series)])
        back = torch.arange(keep, device=line.device).unsqueeze(-1)
        index = back + self.lengths
        wide = index if line.dim() == 2 else index.unsqueeze(-1).expand(-1, -1, line.shape[-1])
        values = line.gather(0, wide)
        if self.call.resets is None:
            return values
        end = (self.lengths - 1).clamp(min=0)
        start = self.start.gather(0, end.unsqueeze(0))
        belongs = (index - keep >= start) | (self.lengths == 0)
        outside = torch.stack([self._boundary_value(node, t) for t in range(self.call.steps)])
        at = (
            end.view(1, -1) if line.dim() == 2 else end.view(1, -1, 1).expand(1, -1, line.shape[-1])
        )
        replaced = outside.gather(0, at).expand_as(values)
        return torch.where(belongs if line.dim() == 2 else belongs.unsqueeze(-1), values, replaced)
