"""The operator graph: a directed multigraph whose edges carry integer delays.

This is the cyclic graph of Zhang et al. (2016, arXiv 1602.08210), at the grain of primitive
operations. Operands and types live in the immutable nodes; networkx gets node numbers and delays
only, when an algorithm asks for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Literal

from rnnc.grammar.source import Span
from rnnc.grammar.symbols import display_name

from .strong_components import strong_components
from .types import Type

if TYPE_CHECKING:
    import networkx as nx

Attribute = int | float | str | bool


@dataclass(frozen=True, slots=True)
class Operand:
    """A value `delay` steps ago (negative: steps ahead) of a node."""

    node: int
    delay: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """One primitive operation (see `catalogue`), its operands in order, and its width.

    `application` is the operator application that it belongs to, or -1 for the model's own
    equations; `attributes` are constants (the `k` of maxout, the name of a parameter); `local_name` is
    the name that the spec gives to the value, where it does.
    """

    id: int
    operation: str
    operands: tuple[Operand, ...]
    size: int
    attributes: tuple[Attribute, ...]
    application: int
    span: Span = field(compare=False)
    local_name: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Application:
    """One use of an operator: `name` as the spec writes it, `path` as a state_dict does."""

    id: int
    name: str
    path: str
    parent: int
    operands: tuple[tuple[Operand, ...], ...]
    results: tuple[Operand, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class InitialValue:
    """The value of a state before its segment: zero, a constant, learned, or drawn."""

    kind: Literal["constant", "learned", "uniform"]
    low: float = 0.0
    high: float = 0.0

    def __str__(self) -> str:
        if self.kind == "uniform":
            return f"uniform({self.low:g}, {self.high:g})"
        return "learned" if self.kind == "learned" else f"{self.low:g}"


@dataclass(frozen=True, slots=True)
class Input:
    """An input variable. `max_delay` is how many steps back it is read."""

    name: str
    type: Type
    node: int
    max_delay: int


@dataclass(frozen=True, slots=True)
class State:
    """A state variable. `delay` is how far back (negative: ahead) it is read; 1 where it is not."""

    name: str
    type: Type
    node: int
    initial_value: InitialValue
    delay: int

    @property
    def has_learned_initial_value(self) -> bool:
        """Whether its initial value is a parameter, `init.NAME`."""
        return self.initial_value.kind == "learned"


@dataclass(frozen=True, slots=True)
class Output:
    """What a model gives: an `output`, or the prediction `x'` of the input that it `predicted_input`.

    An `unscored` one has no loss of its own, and so no target.
    """

    name: str
    type: Type
    value: Operand
    at_end: bool
    predicted_input: str | None
    span: Span | None = field(default=None, compare=False)
    unscored: bool = False


@dataclass(frozen=True, slots=True)
class Initializer:
    """`name(arguments)` of an annotation, or of an initial value."""

    name: str
    arguments: tuple[float, ...] = ()

    def __str__(self) -> str:
        return (
            f"{self.name}({', '.join(f'{a:g}' for a in self.arguments)})"
            if self.arguments
            else self.name
        )


@dataclass(frozen=True, slots=True)
class Parameter:
    """A learned or frozen array.

    `form` is matrix (rows, columns), vector (n), diagonal (n) or blocks (k, rows/k, columns/k);
    `initializers` is applied in order; `operator` is the spec's name of the operator, or None for the
    model's own; `weightdrop` is the probability with which an entry is dropped for a call.
    """

    name: str
    shape: tuple[int, ...]
    form: Literal["matrix", "vector", "diagonal", "blocks"]
    initializers: tuple[Initializer, ...]
    is_frozen: bool
    weightdrop: float
    operator: str | None
    span: Span = field(compare=False)

    @property
    def numel(self) -> int:
        """How many numbers it holds."""
        product = 1
        for size in self.shape:
            product *= size
        return product

    @property
    def is_matrix(self) -> bool:
        """Whether it maps vectors to vectors by products (what depth is counted in)."""
        return self.form in {"matrix", "blocks"}


@dataclass(frozen=True, slots=True)
class Law:
    """A soft equation: the mean squared difference of two values is added to the loss."""

    left: Operand
    right: Operand
    weight: float
    text: str
    span: Span = field(compare=False)


@dataclass(frozen=True)
class LossGraph:
    """The `loss` terms of a model, computed once the targets are known.

    `graph` has one output of width 1 a term, no states, and as inputs: `kept 0`, `kept 1`, …, the
    values that the model keeps; `x'`, the next value of the input x; and by their own names the
    variables that windows look through.
    """

    graph: OperatorGraph
    weights: tuple[float, ...]


@dataclass(frozen=True)
class OperatorGraph:
    """A checked model. Nodes are numbered in an order fixed by the text of the spec.

    `loss_inputs` are the values that its `loss` terms need of it, wanted in training only.
    """

    name: str
    nodes: tuple[Node, ...]
    inputs: tuple[Input, ...]
    states: tuple[State, ...]
    outputs: tuple[Output, ...]
    parameters: tuple[Parameter, ...]
    applications: tuple[Application, ...]
    laws: tuple[Law, ...] = ()
    loss_inputs: tuple[Operand, ...] = ()
    loss_graph: LossGraph | None = None

    @cached_property
    def parameters_by_name(self) -> dict[str, Parameter]:
        """Parameters by their name in a state_dict."""
        return {parameter.name: parameter for parameter in self.parameters}

    @cached_property
    def scored_outputs(self) -> tuple[Output, ...]:
        """The outputs that have a loss of their own, and so a target."""
        return tuple(output for output in self.outputs if not output.unscored)

    @cached_property
    def predictions(self) -> tuple[Output, ...]:
        """The outputs that predict an input's next value."""
        return tuple(output for output in self.outputs if output.predicted_input is not None)

    @property
    def loss_targets(self) -> tuple[Input, ...]:
        """The inputs whose next values `loss` lines read."""
        if self.loss_graph is None:
            return ()
        read = {i.name for i in self.loss_graph.graph.inputs}
        return tuple(i for i in self.inputs if f"{i.name}'" in read)

    @cached_property
    def parameters_by_operator(self) -> dict[str, list[str]]:
        """By the path of an operator the names of its parameters, and of those of inner ones."""
        found: dict[str, list[str]] = {}
        for parameter in self.parameters:
            path = parameter.name
            while "." in path:
                path = path.rpartition(".")[0]
                found.setdefault(path, []).append(parameter.name)
        return found

    @cached_property
    def application_counts(self) -> Counter[str]:
        """How often each operator is applied, by its path."""
        return Counter(application.path for application in self.applications)

    @cached_property
    def states_by_node(self) -> dict[int, State]:
        """States by the number of their node."""
        return {state.node: state for state in self.states}

    @cached_property
    def roots(self) -> tuple[int, ...]:
        """The nodes whose values somebody outside wants: of outputs, states, laws, loss terms."""
        wanted = [output.value.node for output in self.outputs]
        wanted += [state.node for state in self.states]
        wanted += [side.node for law in self.laws for side in (law.left, law.right)]
        wanted += [operand.node for operand in self.loss_inputs]
        return tuple(dict.fromkeys(wanted))

    def edges(self) -> Iterator[tuple[int, int, int]]:
        """All edges as (source, target, delay)."""
        for node in self.nodes:
            for operand in node.operands:
                yield operand.node, node.id, operand.delay

    def to_networkx(self) -> nx.MultiDiGraph[int]:
        """The graph as networkx has it, delays on the edges."""
        import networkx as nx

        network: nx.MultiDiGraph[int] = nx.MultiDiGraph()
        network.add_nodes_from(node.id for node in self.nodes)
        network.add_edges_from((u, v, {"delay": delay}) for u, v, delay in self.edges())
        return network

    @cached_property
    def components(self) -> tuple[tuple[int, ...], ...]:
        """The strongly connected components, in an order in which each one's operands come first.

        The order is fixed by the node numbers, so that it is the same in every run: among those
        that are ready, the component with the smallest number comes first.
        """
        targets: list[list[int]] = [[] for _ in self.nodes]
        for source, target, _ in self.edges():
            targets[source].append(target)
        found = {min(nodes): tuple(sorted(nodes)) for nodes in strong_components(targets)}
        home = {number: first for first, nodes in found.items() for number in nodes}
        waiting = dict.fromkeys(found, 0)
        readers: dict[int, list[int]] = {first: [] for first in found}
        for source, target, _ in self.edges():
            before, after = home[source], home[target]
            if before != after:
                waiting[after] += 1
                readers[before].append(after)
        ready = [first for first, count in waiting.items() if not count]
        heapify(ready)
        order: list[tuple[int, ...]] = []
        while ready:
            first = heappop(ready)
            order.append(found[first])
            for reader in readers[first]:
                waiting[reader] -= 1
                if not waiting[reader]:
                    heappush(ready, reader)
        return tuple(order)

    @cached_property
    def has_windows(self) -> bool:
        """Whether some value looks through a window, and so must know what is missing."""
        graphs = [self] + ([self.loss_graph.graph] if self.loss_graph else [])
        return any(node.operation == "window" for graph in graphs for node in graph.nodes)

    @cached_property
    def random_nodes(self) -> tuple[Node, ...]:
        """The nodes that draw a mask in training."""
        drawing = {"dropout", "variational", "zoneout"}
        return tuple(node for node in self.nodes if node.operation in drawing)

    @cached_property
    def recurrent_nodes(self) -> frozenset[int]:
        """The nodes on cycles."""
        found: set[int] = set()
        for component in self.components:
            if len(component) > 1:
                found |= set(component)
            else:
                node = self.nodes[component[0]]
                if any(operand.node == node.id for operand in node.operands):
                    found.add(node.id)
        return frozenset(found)

    @cached_property
    def backward_nodes(self) -> frozenset[int]:
        """The nodes of cycles that run backward in time."""
        found: set[int] = set()
        for component in self.components:
            members = set(component)
            delays = {
                operand.delay
                for number in component
                for operand in self.nodes[number].operands
                if operand.node in members
            }
            if any(delay < 0 for delay in delays):
                found |= members
        return frozenset(found)

    def to_text(self) -> str:
        """A stable text form: one line a variable, parameter and node."""
        lines = [f"model {self.name}"]
        lines += [f"input {i.name}: {i.type} = %{i.node}" for i in self.inputs]
        lines += [
            f"state {s.name}: {s.type} = %{s.node} from {s.initial_value}" for s in self.states
        ]
        for output in self.outputs:
            end = " at end" if output.at_end else ""
            end += " unscored" if output.unscored else ""
            lines.append(
                f"output {output.name}: {output.type}{end} = {_operand_text(output.value)}"
            )
        for parameter in self.parameters:
            shape = ", ".join(map(str, parameter.shape))
            marks = [parameter.form, *map(str, parameter.initializers)]
            marks += ["frozen"] if parameter.is_frozen else []
            marks += [f"weightdrop({parameter.weightdrop:g})"] if parameter.weightdrop else []
            lines.append(f"parameter {parameter.name}: real[{shape}] {', '.join(marks)}")
        for node in self.nodes:
            attributes = "".join(f"[{attribute}]" for attribute in node.attributes)
            operands = ", ".join(_operand_text(operand) for operand in node.operands)
            where = ""
            if node.application >= 0:
                where = f"  in {self.application_name(node.application)}"
            lines.append(
                f"%{node.id} = {node.operation}{attributes}({operands}): {node.size}{where}"
            )
        for law in self.laws:
            lines.append(
                f"law {_operand_text(law.left)} ~= {_operand_text(law.right)} weight {law.weight:g}"
            )
        if self.loss_graph is not None:
            lines.append(f"keep {', '.join(map(_operand_text, self.loss_inputs))}")
            lines += [f"  {line}" for line in self.loss_graph.graph.to_text().splitlines()]
            weights = ", ".join(f"{weight:g}" for weight in self.loss_graph.weights)
            lines.append(f"loss weights {weights}")
        return "\n".join(lines) + "\n"

    def application_name(self, application_id: int) -> str:
        """An application as a path of the spec's own names: `⊕₁#0/mlp#1`."""
        parts: list[str] = []
        while application_id >= 0:
            application = self.applications[application_id]
            parts.append(f"{display_name(application.name)}#{application_id}")
            application_id = application.parent
        return "/".join(reversed(parts))


def expose_loss_inputs(graph: OperatorGraph) -> OperatorGraph:
    """A graph with all that its `loss` terms need among its outputs, behind its own.

    For evaluation, which keeps nothing, of a model that nothing else scores.
    """
    shown = (
        Output(f"kept {i}", Type("real", graph.nodes[o.node].size), o, False, None)
        for i, o in enumerate(graph.loss_inputs)
    )
    return replace(graph, outputs=(*graph.outputs, *shown), loss_inputs=())


def _operand_text(operand: Operand) -> str:
    if operand.delay == 0:
        return f"%{operand.node}"
    return f"%{operand.node}[t{-operand.delay:+d}]"
