"""What names mean at one place: in a model's equations, or in the body of an operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rnnc.grammar.source import Span
from rnnc.operators.graph.operator_graph import Initial
from rnnc.operators.graph.types import Type

from .environment import Environment
from .parameters import Annotations
from .size_inference import Dim
from .values import Value


@dataclass(slots=True)
class Variable:
    """An input, state or output of a model."""

    role: str
    name: str
    type: Type
    size: Dim
    span: Span
    node: int = -1
    initial: Initial = field(default_factory=lambda: Initial("constant"))
    at_end: bool = False
    unscored: bool = False
    value: Value | None = None
    set_at: Span | None = None
    value_at: Span | None = None


@dataclass(slots=True)
class Scope:
    """One block of equations while it is evaluated.

    `variables` is empty in an operator's body, where there is no time; `values` holds operands and
    locals, None standing for one whose mistake has been reported. `broken` names are not reported,
    nor are `pending` ones, locals that are not yet known because they wait for each other.
    """

    environment: Environment
    path: str = ""
    operator: str | None = None
    application: int = -1
    variables: Mapping[str, Variable] = field(default_factory=dict)
    values: dict[str, Value | None] = field(default_factory=dict)
    sizes: dict[str, Dim] = field(default_factory=dict)
    annotations: Mapping[str, Annotations] = field(default_factory=dict)
    shared: Mapping[str, Annotations] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()
    pending: frozenset[str] = frozenset()
    outside: frozenset[str] = frozenset()
    stack: tuple[object, ...] = ()
    in_law: bool = False
    in_loss: bool = False

    def poison(self, *names: str) -> None:
        """Report nothing more about names: their mistake is known."""
        self.broken |= frozenset(names)

    def is_poisoned(self, name: str) -> bool:
        """Whether the mistake about a name, or about all its subscripts, has been reported."""
        return name in self.broken or ("_" in name and name.split("_")[0] in self.broken)

    @property
    def in_body(self) -> bool:
        """Whether this is the body of an operator."""
        return self.operator is not None
