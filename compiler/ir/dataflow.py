"""Dataflow: the mid-level IR, with forward and backward operations in one vocabulary.

`lowering/` builds it from an operator graph, `autodiff/` adds the backward pass, `passes/` rewrite
it, `schedule/` cuts it into phases. It has matrices and sums over time, and no execution order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from rnnc.operators.graph.operator_graph import Attribute, OperatorGraph
from rnnc.operators.graph.strong_components import strong_components

Rate = Literal["call", "row", "step"]
"""How often a value is computed: once a call, once a row (B), or at each step (T, B).

Masks that a call draws once, and gradients of the carry, are of rate `row`; a value computed from
such a mask is of rate `step`.
"""

GradientKind = Literal["parameter", "input", "history", "initial"]

BOUNDARY_VALUE_OPS = frozenset({"state", "input"})
"""Operations with a value outside of their segment; forward values read no others with a delay."""


def may_cross_segment(
    delay: int, *, has_boundary_value: bool, has_carry: bool, resets: bool, lengths: bool
) -> bool:
    """Return True if a use at this delay may reach over the end of a segment.

    has_boundary_value: True for uses of states and inputs, False for uses of adjoint values. Past
    a row's end adjoint values may be anything, even NaN: no gradient is defined there.
    has_carry: the operand has values before the first step (see `states_without_carry`).
    resets, lengths: the call has resets, or lengths.
    """
    begins = delay > 0 and not has_carry
    return delay != 0 and (begins or resets or (lengths and (delay < 0 or not has_boundary_value)))


@dataclass(frozen=True, slots=True)
class Operand:
    """A use of the value with the id `value`, `delay` steps ago (negative: steps ahead).

    Outside of the user's segment a state has its initial value, an input has no value (zero, or −1
    for a symbol), and every other value is zero. Before the first step states and inputs continue
    into the carry; states that run backward have none, so their segment begins at the first step.
    (Rows of a window are zero there: `ops.WINDOW_OPS`.)
    """

    value: int
    delay: int = 0

    def __str__(self) -> str:
        return f"%{self.value}" + (f"[t{-self.delay:+d}]" if self.delay else "")


@dataclass(frozen=True, slots=True)
class Value:
    """One operation and its result: per step and row a vector (n,), or a matrix of parameters.

    `adjoint` marks values of the backward pass; `origin` is the id of the node of the operator
    graph that the value implements, or −1.
    """

    id: int
    operation: str
    operands: tuple[Operand, ...]
    shape: tuple[int, ...]
    rate: Rate
    attributes: tuple[Attribute, ...] = ()
    adjoint: bool = False
    origin: int = -1

    @property
    def size(self) -> int:
        """The width of a vector, or the number of entries of a matrix."""
        product = 1
        for extent in self.shape:
            product *= extent
        return product

    def __str__(self) -> str:
        attributes = "".join(f"[{attribute}]" for attribute in self.attributes)
        operands = ", ".join(map(str, self.operands))
        shape = "×".join(map(str, self.shape))
        rate = {"call": " once", "row": " a row", "step": ""}[self.rate]
        return f"%{self.id} = {self.operation}{attributes}({operands}): {shape}{rate}"


@dataclass(frozen=True, slots=True)
class Gradient:
    """A gradient that the backward pass returns.

    kind: `parameter`; `input` (T, B, n); `history` (k, B, n), of the carry; `initial` (B, n), of a
        state's value before the segment that the first step belongs to.
    name: of the parameter or variable.
    value: the id of its value, or −1 for a gradient that is zero because nothing depends on it.
    """

    kind: GradientKind
    name: str
    value: int


@dataclass(frozen=True)
class Dataflow:
    """Forward values, after differentiation also adjoint ones, each after its undelayed operands.

    outputs, laws, loss_inputs: as in the operator graph; a law's value is (T, B, 1).
    gradients: in the order of the request.
    """

    graph: OperatorGraph
    values: tuple[Value, ...]
    outputs: tuple[Operand, ...]
    laws: tuple[Operand, ...]
    loss_inputs: tuple[Operand, ...] = ()
    gradients: tuple[Gradient, ...] = ()

    @property
    def results(self) -> tuple[Operand, ...]:
        """All results of a call except the carry."""
        return (*self.outputs, *self.laws, *self.loss_inputs)

    @cached_property
    def users(self) -> tuple[tuple[int, ...], ...]:
        """For each value the ids of the values that use it, in ascending order."""
        users: list[list[int]] = [[] for _ in self.values]
        for value in self.values:
            for operand_id in dict.fromkeys(operand.value for operand in value.operands):
                users[operand_id].append(value.id)
        return tuple(map(tuple, users))

    def has_one_use(self, value_id: int, user: Value) -> bool:
        """Return True if `user` is the value's only user and uses it at one delay.

        Such a value can be fused into its user; a use at two steps needs it in memory.
        """
        uses = sum(operand.value == value_id for operand in user.operands)
        return self.users[value_id] == (user.id,) and uses == 1

    @cached_property
    def ids_by_name(self) -> dict[tuple[str, str], int]:
        """The ids of parameters, inputs and states by operation and name."""
        named = [v for v in self.values if v.operation in {"parameter", "input", "state"}]
        return {(v.operation, str(v.attributes[0])): v.id for v in reversed(named)}

    @cached_property
    def states_without_carry(self) -> frozenset[int]:
        """The ids of states that run backward: no carry precedes their first step."""
        names = {s.name for s in self.graph.states if s.node in self.graph.backward_nodes}
        states = (v for v in self.values if v.operation == "state")
        return frozenset(v.id for v in states if v.attributes[0] in names)

    @cached_property
    def gradients_by_value(self) -> dict[int, list[Gradient]]:
        """The gradients that each value holds, by the value's id."""
        gradients: dict[int, list[Gradient]] = {}
        for gradient in self.gradients:
            gradients.setdefault(gradient.value, []).append(gradient)
        return gradients

    @cached_property
    def components(self) -> tuple[tuple[int, ...], ...]:
        """Strongly connected components in topological order, their members in ascending order."""
        operands = [[operand.value for operand in value.operands] for value in self.values]
        return tuple(tuple(sorted(members)) for members in strong_components(operands))

    @cached_property
    def cyclic_values(self) -> frozenset[int]:
        """The ids of values that depend on themselves: they cannot leave a loop."""
        cyclic: set[int] = set()
        for component in self.components:
            first = self.values[component[0]]
            if len(component) > 1 or any(r.value == first.id for r in first.operands):
                cyclic.update(component)
        return frozenset(cyclic)

    @cached_property
    def component_of(self) -> tuple[int, ...]:
        """For each value the index of its component."""
        indices = [0] * len(self.values)
        for index, component in enumerate(self.components):
            for value_id in component:
                indices[value_id] = index
        return tuple(indices)

    def to_text(self, *, adjoint: bool | None = None) -> str:
        """Return a stable text form, a line a value; of one pass alone if `adjoint` is given."""
        lines = [str(v) for v in self.values if adjoint is None or v.adjoint == adjoint]
        if not adjoint:
            lines += [
                f"output {output.name} = {operand}"
                for output, operand in zip(self.graph.outputs, self.outputs, strict=True)
            ]
            lines += [f"law = {operand}" for operand in self.laws]
            lines += [f"keep {operand}" for operand in self.loss_inputs]
        if adjoint or adjoint is None:
            lines += [f"gradient {g.kind} {g.name} = %{g.value}" for g in self.gradients]
        return "\n".join(lines) + "\n"
