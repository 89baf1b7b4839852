"""The graph that is scheduled: forward values and their adjoints in one vocabulary.

An operator graph is lowered to it (`lower.py`), differentiated in it (`adjoint.py`), rewritten in
it (`passes/`) and cut into phases (`schedule.py`). Unlike an operator graph it has matrices as
values, and sums over time; unlike a plan it has no order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from rnnc.operators.graph.operator_graph import Attribute, OperatorGraph
from rnnc.operators.graph.strong_components import strong_components

Rate = Literal["call", "row", "step"]
"""How often a value is computed: once a call, once a row (B), or at each step (T, B).

Of a row are masks that a call draws once, and gradients of what lies before the first step; what is
computed from such a mask is computed at each step.
"""

BOUNDARY_VALUE_OPS = frozenset({"state", "input"})
"""What may be read at another time by forward values: outside its segment it has a value."""


def may_cross_segment(
    delay: int, *, has_boundary_value: bool, has_carry: bool, resets: bool, lengths: bool
) -> bool:
    """Whether a read at some delay may meet the end of a segment.

    has_boundary_value: whether states and inputs are read, or adjoint values. Past a row's end those may be
    anything, NaN among it: slopes there are of values that nobody has asked for.
    has_carry: whether what is read goes on before the first step (`Dataflow.states_without_carry`).
    resets, lengths: whether the call has any.
    """
    begins = delay > 0 and not has_carry
    return delay != 0 and (begins or resets or (lengths and (delay < 0 or not has_boundary_value)))


@dataclass(frozen=True, slots=True)
class Operand:
    """A value `delay` steps ago (negative: steps ahead).

    Outside of the reader's segment a state gives its initial value, an input nothing (zero, −1 for
    a symbol), and every other value zero. Before the first step states and inputs go on into the
    history of the call; of states that run backward there is none, so that a segment begins there.
    (Rows of a window are zero there: `vocabulary.WINDOWS`.)
    """

    value: int
    delay: int = 0

    def __str__(self) -> str:
        return f"%{self.value}" + (f"[t{-self.delay:+d}]" if self.delay else "")


@dataclass(frozen=True, slots=True)
class Value:
    """One operation and its result: per step and row a vector (n,), or a matrix of parameters.

    `adjoint` tells the backward pass from the forward one; `origin` is the node of the operator
    graph that it was made for, or −1.
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
        """The width of a vector; of a matrix, its number of entries."""
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
    """A gradient that the backward pass gives.

    kind: `parameter`; `input` (T, B, n); `history` (k, B, n), of what lies before the first step;
        `initial` (B, n), of a state's value before the segment that the first step belongs to.
    name: of the parameter or variable.
    value: the number of its value, or −1 where nothing depends on it (zero).
    """

    kind: Literal["parameter", "input", "history", "initial"]
    name: str
    value: int


@dataclass(frozen=True)
class Dataflow:
    """Forward values, then (once differentiated) adjoint ones, each after its operands of a step.

    outputs, laws, loss_inputs: as in the operator graph; a law's value is (T, B, 1).
    gradients: in the order in which they were asked for.
    """

    graph: OperatorGraph
    values: tuple[Value, ...]
    outputs: tuple[Operand, ...]
    laws: tuple[Operand, ...]
    loss_inputs: tuple[Operand, ...] = ()
    gradients: tuple[Gradient, ...] = ()

    @property
    def results(self) -> tuple[Operand, ...]:
        """All that a call gives, but for what is carried on."""
        return (*self.outputs, *self.laws, *self.loss_inputs)

    @cached_property
    def users(self) -> tuple[tuple[int, ...], ...]:
        """For each value the values that read it, in order."""
        found: list[list[int]] = [[] for _ in self.values]
        for value in self.values:
            for number in dict.fromkeys(read.value for read in value.operands):
                found[number].append(value.id)
        return tuple(map(tuple, found))

    def has_one_use(self, value_id: int, user: Value) -> bool:
        """Whether one value alone reads another one, and at one step: it may become a part of it.

        A reader that sees it at two steps needs it in memory.
        """
        reads = sum(read.value == value_id for read in user.operands)
        return self.users[value_id] == (user.id,) and reads == 1

    @cached_property
    def ids_by_name(self) -> dict[tuple[str, str], int]:
        """Parameters, inputs and states by operation and name."""
        given = [v for v in self.values if v.operation in {"parameter", "input", "state"}]
        return {(v.operation, str(v.attributes[0])): v.id for v in reversed(given)}

    @cached_property
    def states_without_carry(self) -> frozenset[int]:
        """The states that run backward: no history of a call is before their first step."""
        names = {s.name for s in self.graph.states if s.node in self.graph.backward_nodes}
        states = (v for v in self.values if v.operation == "state")
        return frozenset(v.id for v in states if v.attributes[0] in names)

    @cached_property
    def gradients_by_value(self) -> dict[int, list[Gradient]]:
        """By the number of a value the gradients that it is."""
        found: dict[int, list[Gradient]] = {}
        for gradient in self.gradients:
            found.setdefault(gradient.value, []).append(gradient)
        return found

    @cached_property
    def components(self) -> tuple[tuple[int, ...], ...]:
        """Strongly connected components, each after those that it reads; members in order."""
        operands = [[read.value for read in value.operands] for value in self.values]
        return tuple(tuple(sorted(found)) for found in strong_components(operands))

    @cached_property
    def cyclic_values(self) -> frozenset[int]:
        """The values that depend on themselves: what cannot leave a loop."""
        found: set[int] = set()
        for component in self.components:
            first = self.values[component[0]]
            if len(component) > 1 or any(r.value == first.id for r in first.operands):
                found.update(component)
        return frozenset(found)

    @cached_property
    def component_of(self) -> tuple[int, ...]:
        """For each value the index of its component."""
        found = [0] * len(self.values)
        for index, component in enumerate(self.components):
            for number in component:
                found[number] = index
        return tuple(found)

    def to_text(self, *, adjoint: bool | None = None) -> str:
        """A stable text form: one line a value; forward or adjoint values only, if asked."""
        lines = [str(v) for v in self.values if adjoint is None or v.adjoint == adjoint]
        if not adjoint:
            lines += [
                f"output {output.name} = {read}"
                for output, read in zip(self.graph.outputs, self.outputs, strict=True)
            ]
            lines += [f"law = {read}" for read in self.laws]
            lines += [f"keep {read}" for read in self.loss_inputs]
        if adjoint or adjoint is None:
            lines += [f"gradient {g.kind} {g.name} = %{g.value}" for g in self.gradients]
        return "\n".join(lines) + "\n"
