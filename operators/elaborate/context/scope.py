"""Meaning of names in one block: a model's equations, or the body of an operator."""

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
    """Input, state or output of a model."""

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
    """Scope of one block of equations during its evaluation.

    variables: empty in an operator's body, where there is no time.
    values: operands and locals; None after a mistake, which has been reported.
    poisoned_names: names whose mistake has been reported, and which are not reported again.
    pending_locals: locals without a value yet, since they wait for each other.
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
        """Suppress further reports about names whose mistake has been reported."""
        self.poisoned_names |= frozenset(names)

    def is_poisoned(self, name: str) -> bool:
        """Return true if a mistake about the name, or about its stem, has been reported."""
        return name in self.poisoned_names or (
            "_" in name and name.split("_")[0] in self.poisoned_names
        )

    @property
    def in_operator_body(self) -> bool:
        """Return true in the body of an operator."""
        return self.operator is not None
