"""What names mean at one place: in a model's equations, or in the body of an operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rnnc.grammar.source import Span
from rnnc.operators.graph.operator_graph import InitialValue
from rnnc.operators.graph.types import Type

from .environment import Environment
from .parameters import ParameterAnnotations
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
    initial_value: InitialValue = field(default_factory=lambda: InitialValue("constant"))
    at_end: bool = False
    unscored: bool = False
    value: Value | None = None
    target_span: Span | None = None
    value_span: Span | None = None


@dataclass(slots=True)
class Scope:
    """One block of equations while it is evaluated.

    `variables` is empty in an operator's body, where there is no time; `values` holds operands and
    locals, None standing for one whose mistake has been reported. `poisoned_names` names are not reported,
    nor are `pending_locals` ones, locals that are not yet known because they wait for each other.
    """

    environment: Environment
    path: str = ""
    operator: str | None = None
    application: int = -1
    variables: Mapping[str, Variable] = field(default_factory=dict)
    values: dict[str, Value | None] = field(default_factory=dict)
    sizes: dict[str, Dim] = field(default_factory=dict)
    annotations: Mapping[str, ParameterAnnotations] = field(default_factory=dict)
    model_annotations: Mapping[str, ParameterAnnotations] = field(default_factory=dict)
    poisoned_names: frozenset[str] = frozenset()
    pending_locals: frozenset[str] = frozenset()
    outer_variables: frozenset[str] = frozenset()
    operator_stack: tuple[object, ...] = ()
    in_law: bool = False
    in_loss: bool = False

    def poison(self, *names: str) -> None:
        """Report nothing more about names: their mistake is known."""
        self.poisoned_names |= frozenset(names)

    def is_poisoned(self, name: str) -> bool:
        """Whether the mistake about a name, or about all its subscripts, has been reported."""
        return name in self.poisoned_names or (
            "_" in name and name.split("_")[0] in self.poisoned_names
        )

    @property
    def in_operator_body(self) -> bool:
        """Whether this is the body of an operator."""
        return self.operator is not None
