"""The operator graph: a directed multigraph whose edges carry integer delays.

This is the cyclic graph of Zhang et al. (2016, arXiv 1602.08210), with primitive operations as
its nodes. networkx gets ids of nodes and delays alone, to explain cycles in messages.
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
    """Value of a node `delay` steps ago (negative: steps ahead)."""

    node: int
    delay: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """Primitive operation (see `semantics.primitives`), its operands in order, and its size.

    application: id of the application that the node belongs to; -1 for the model's equations.
    attributes: constants (the `k` of maxout, the name of a parameter).
    local_name: name of the value in the spec, or an empty string.
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
    """Use of an operator: `name` as in the spec, `path` as in a state_dict."""

    id: int
    name: str
    path: str
    parent: int
    operands: tuple[tuple[Operand, ...], ...]
    results: tuple[Operand, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class InitialValue:
    """Value of a state before its segment: a constant, learned, or drawn."""

    kind: Literal["constant", "learned", "uniform"]
    low: float = 0.0
    high: float = 0.0

    def __str__(self) -> str:
        if self.kind == "uniform":
            return f"uniform({self.low:g}, {self.high:g})"
        return "learned" if self.kind == "learned" else f"{self.low:g}"


@dataclass(frozen=True, slots=True)
class Input:
    """Input variable; `max_delay` is the largest delay of its reads."""

    name: str
    type: Type
    node: int
    max_delay: int


@dataclass(frozen=True, slots=True)
class State:
    """State variable.

    `delay` is the largest delay of its reads, and negative if one reads ahead; 1 if all reads are
    of its new value.
    """

    name: str
    type: Type
    node: int
    initial_value: InitialValue
    delay: int

    @property
    def has_learned_initial_value(self) -> bool:
        """Return true if the initial value is a parameter, `init.NAME`."""
        return self.initial_value.kind == "learned"


@dataclass(frozen=True, slots=True)
class Output:
    """Output of a model, or the prediction `x'` of its input `predicted_input`.

    An `unscored` output has no loss of its own, and so no target.
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
    """Rule `name(arguments)` by which a parameter starts, or another annotation of it."""

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
    """Learned or frozen array.

    form: matrix (rows, columns), vector (n), diagonal (n) or blocks (k, rows/k, columns/k).
    initializers: applied in order. operator: name of the operator in the spec, or None for the
    model's own. weightdrop: probability with which an entry is dropped during a call.
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
        """Return the number of entries."""
        product = 1
        for size in self.shape:
            product *= size
        return product

    @property
    def is_matrix(self) -> bool:
        """Return true for linear maps of vectors, by which depth is measured."""
        return self.form in {"matrix", "blocks"}


@dataclass(frozen=True, slots=True)
class Law:
    """Soft constraint: the mean squared difference of two values is added to the loss."""

    left: Operand
    right: Operand
    weight: float
    text: str
    span: Span = field(compare=False)


@dataclass(frozen=True)
class LossGraph:
    """The `loss` terms of a model, evaluated once the targets are known.

    `graph` has one output of size 1 per term and no states. Its inputs are `kept 0`, `kept 1`, …,
    the model's `loss_inputs`; `x'`, the next value of the input x; and, by their own names, the
    variables of windows.
    """

    graph: OperatorGraph
    weights: tuple[float, ...]


@dataclass(frozen=True)
class OperatorGraph:
    """Checked model, with nodes numbered in an order fixed by the text of the spec.

    `loss_inputs` are the values for its `loss` terms, computed in training only.
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
        """Return the parameters by their name in a state_dict."""
        return {parameter.name: parameter for parameter in self.parameters}

    @cached_property
    def scored_outputs(self) -> tuple[Output, ...]:
        """Return the outputs with a loss of their own, and so with a target."""
        return tuple(output for output in self.outputs if not output.unscored)

    @cached_property
    def predictions(self) -> tuple[Output, ...]:
        """Return the outputs that predict an input's next value."""
        return tuple(output for output in self.outputs if output.predicted_input is not None)

    @property
    def loss_targets(self) -> tuple[Input, ...]:
        """Return the inputs whose next values `loss` lines read."""
        if self.loss_graph is None:
            return ()
        names = {i.name for i in self.loss_graph.graph.inputs}
        return tuple(i for i in self.inputs if f"{i.name}'" in names)

    @cached_property
    def parameters_by_operator(self) -> dict[str, list[str]]:
        """Return the names of parameters by the path of each operator around them."""
        names_by_path: dict[str, list[str]] = {}
        for parameter in self.parameters:
            path = parameter.name
            while "." in path:
                path = path.rpartition(".")[0]
                names_by_path.setdefault(path, []).append(parameter.name)
        return names_by_path

    @cached_property
    def application_counts(self) -> Counter[str]:
        """Return the number of applications of each operator, by its path."""
        return Counter(application.path for application in self.applications)

    @cached_property
    def states_by_node(self) -> dict[int, State]:
        """Return the states by the id of their node."""
        return {state.node: state for state in self.states}

    @cached_property
    def roots(self) -> tuple[int, ...]:
        """Return the nodes read from outside: of outputs, states, laws and loss terms."""
        nodes = [output.value.node for output in self.outputs]
        nodes += [state.node for state in self.states]
        nodes += [side.node for law in self.laws for side in (law.left, law.right)]
        nodes += [operand.node for operand in self.loss_inputs]
        return tuple(dict.fromkeys(nodes))

    def edges(self) -> Iterator[tuple[int, int, int]]:
        """Yield all edges as (source, target, delay)."""
        for node in self.nodes:
            for operand in node.operands:
                yield operand.node, node.id, operand.delay

    def to_networkx(self) -> nx.MultiDiGraph[int]:
        """Convert to a networkx graph with delays on its edges."""
        import networkx as nx

        network: nx.MultiDiGraph[int] = nx.MultiDiGraph()
        network.add_nodes_from(node.id for node in self.nodes)
        network.add_edges_from((u, v, {"delay": delay}) for u, v, delay in self.edges())
        return network

    @cached_property
    def components(self) -> tuple[tuple[int, ...], ...]:
        """Return the strongly connected components in topological order.

        Of the components that are ready, the one with the smallest node comes first, so that the
        order is the same in every run.
        """
        targets: list[list[int]] = [[] for _ in self.nodes]
        for source, target, _ in self.edges():
            targets[source].append(target)
        components = {min(nodes): tuple(sorted(nodes)) for nodes in strong_components(targets)}
        component_of = {number: first for first, nodes in components.items() for number in nodes}
        operand_counts = dict.fromkeys(components, 0)
        readers: dict[int, list[int]] = {first: [] for first in components}
        for source, target, _ in self.edges():
            before, after = component_of[source], component_of[target]
            if before != after:
                operand_counts[after] += 1
                readers[before].append(after)
        ready = [first for first, count in operand_counts.items() if not count]
        heapify(ready)
        order: list[tuple[int, ...]] = []
        while ready:
            first = heappop(ready)
            order.append(components[first])
            for reader in readers[first]:
                operand_counts[reader] -= 1
                if not operand_counts[reader]:
                    heappush(ready, reader)
        return tuple(order)

    @cached_property
    def has_windows(self) -> bool:
        """Return true if a value reads a window, and so has to know its missing rows."""
        graphs = [self] + ([self.loss_graph.graph] if self.loss_graph else [])
        return any(node.operation == "window" for graph in graphs for node in graph.nodes)

    @cached_property
    def random_nodes(self) -> tuple[Node, ...]:
        """Return the nodes that draw a mask in training."""
        random_operations = {"dropout", "variational", "zoneout"}
        return tuple(node for node in self.nodes if node.operation in random_operations)

    @cached_property
    def recurrent_nodes(self) -> frozenset[int]:
        """Return the nodes on cycles."""
        recurrent: set[int] = set()
        for component in self.components:
            if len(component) > 1:
                recurrent |= set(component)
            else:
                node = self.nodes[component[0]]
                if any(operand.node == node.id for operand in node.operands):
                    recurrent.add(node.id)
        return frozenset(recurrent)

    @cached_property
    def backward_nodes(self) -> frozenset[int]:
        """Return the nodes on cycles that run backward in time."""
        backward: set[int] = set()
        for component in self.components:
            members = set(component)
            delays = {
                operand.delay
                for number in component
                for operand in self.nodes[number].operands
                if operand.node in members
            }
            if any(delay < 0 for delay in delays):
                backward |= members
        return frozenset(backward)

    def to_text(self) -> str:
        """Format the graph as stable text: one line per variable, parameter and node."""
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
            annotations = [parameter.form, *map(str, parameter.initializers)]
            annotations += ["frozen"] if parameter.is_frozen else []
            annotations += [f"weightdrop({parameter.weightdrop:g})"] if parameter.weightdrop else []
            lines.append(f"parameter {parameter.name}: real[{shape}] {', '.join(annotations)}")
        for node in self.nodes:
            attributes = "".join(f"[{attribute}]" for attribute in node.attributes)
            operands = ", ".join(_operand_text(operand) for operand in node.operands)
            location = ""
            if node.application >= 0:
                location = f"  in {self.application_name(node.application)}"
            lines.append(
                f"%{node.id} = {node.operation}{attributes}({operands}): {node.size}{location}"
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
        """Return an application's path in names of the spec: `⊕₁#0/mlp#1`."""
        parts: list[str] = []
        while application_id >= 0:
            application = self.applications[application_id]
            parts.append(f"{display_name(application.name)}#{application_id}")
            application_id = application.parent
        return "/".join(reversed(parts))


def expose_loss_inputs(graph: OperatorGraph) -> OperatorGraph:
    """Return a graph with its `loss_inputs` as further outputs.

    Evaluation computes no loss inputs; it uses this graph for models that `loss` lines alone score.
    """
    exposed = (
        Output(f"kept {i}", Type("real", graph.nodes[o.node].size), o, False, None)
        for i, o in enumerate(graph.loss_inputs)
    )
    return replace(graph, outputs=(*graph.outputs, *exposed), loss_inputs=())


def _operand_text(operand: Operand) -> str:
    if operand.delay == 0:
        return f"%{operand.node}"
    return f"%{operand.node}[t{-operand.delay:+d}]"
