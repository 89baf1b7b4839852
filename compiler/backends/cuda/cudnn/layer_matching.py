"""Which states of a graph are the layers of torch.nn.LSTM, GRU or RNN, proved from its operations.

Names play no part. A layer's equations are torch's own (documentation of `torch.nn.LSTM`,
`torch.nn.GRU`, `torch.nn.RNN`), with sums in any order and at most any number of bias vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rnnc.operators.graph.operator_graph import Node, Operand, OperatorGraph

Kind = Literal["LSTM", "GRU", "RNN_TANH", "RNN_RELU"]


@dataclass(frozen=True, slots=True)
class Gate:
    """W x + U h + biases: names of parameters; `inner` are biases within a GRU's reset."""

    of_input: str
    of_state: str
    biases: tuple[str, ...]
    inner: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer; gates in torch's order.

    source: the node whose series goes in: an input, or a state at the same step.
    states: the names of h, and for an LSTM of c.
    """

    kind: Kind
    source: int
    states: tuple[str, ...]
    gates: tuple[Gate, ...]
    width: int
    size: int


@dataclass(frozen=True, slots=True)
class Readout:
    """An output: a state of a layer, or a matrix times it and biases; no matrix: an empty name."""

    state: int
    matrix: str
    biases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stack:
    """A whole graph as layers, each after those that it reads, and what comes out of them."""

    layers: tuple[Layer, ...]
    readouts: tuple[Readout, ...]


def stack_of(graph: OperatorGraph) -> Stack | str:
    """A graph as layers of torch.nn; the reason where it is not."""
    if graph.laws or graph.kept:
        return "it has laws or loss terms"
    if graph.backward:
        return "a state runs backward"
    if any(state.delay != 1 for state in graph.states) or any(v.history for v in graph.inputs):
        return "it looks back further than one step"
    found = _Found(graph)
    layers: list[Layer] = []
    taken: set[str] = set()
    for state in graph.states:
        layer = found.layer(state.node)
        if layer is not None:
            layers.append(layer)
            taken |= set(layer.states)
    if {state.name for state in graph.states} != taken or not layers:
        return "a state is no layer of torch.nn"
    ready = {variable.node for variable in graph.inputs if variable.type.kind != "symbol"}
    ordered: list[Layer] = []
    waiting = layers
    nodes = {state.name: state.node for state in graph.states}
    while waiting:
        able = [layer for layer in waiting if layer.source in ready]
        if not able:
            return "a layer reads neither an input nor another layer"
        ordered += able
        ready |= {nodes[layer.states[0]] for layer in able}
        waiting = [layer for layer in waiting if layer not in able]
    tops = {nodes[layer.states[0]] for layer in ordered}
    readouts: list[Readout] = []
    for output in graph.outputs:
        readout = found.readout(output.value, tops)
        if readout is None:
            return "an output is neither a layer's state nor one matrix times it"
        readouts.append(readout)
    return Stack(tuple(ordered), tuple(readouts))


@dataclass(frozen=True, slots=True)
class _Part:
    """A gate while it is looked at; empty names for what it lacks."""

    of_input: str
    source: int
    of_state: str
    biases: tuple[str, ...]
    inner: tuple[str, ...]


class _Found:
    """Looks at the nodes of one graph."""

    def __init__(self, graph: OperatorGraph) -> None:
        self.nodes = graph.nodes
        self.states = {state.node: state.name for state in graph.states}

    def layer(self, state: int) -> Layer | None:
        """The layer whose h is this state."""
        (after,) = self.nodes[state].operands
        if after.delay or self.nodes[after.node].size != self.nodes[state].size:
            return None
        return self._rnn(state, after) or self._lstm(state, after) or self._gru(state, after)

    def readout(self, operand: Operand, tops: set[int]) -> Readout | None:
        """An output of these states."""
        if operand.delay:
            return None
        if operand.node in tops:
            return Readout(operand.node, "", ())
        biases: list[str] = []
        products: list[tuple[str, Operand]] = []
        for term in self._terms(operand):
            product, bias = self._product(term), self._parameter(term)
            if bias:
                biases.append(bias)
            elif product is not None:
                products.append(product)
            else:
                return None
        if len(products) != 1 or products[0][1].delay or products[0][1].node not in tops:
            return None
        return Readout(products[0][1].node, products[0][0], tuple(biases))

    def _rnn(self, h: int, after: Operand) -> Layer | None:
        """H' = tanh(W x + U h + b), or relu."""
        kinds: dict[str, Kind] = {"tanh": "RNN_TANH", "relu": "RNN_RELU"}
        node = self.nodes[after.node]
        if node.operation not in kinds or node.attributes:
            return None
        return self._made(kinds[node.operation], (h,), [self._gate(node.operands[0], h)])

    def _lstm(self, h: int, after: Operand) -> Layer | None:
        """C' = f ⊙ c + i ⊙ g, h' = o ⊙ tanh(c')."""
        for out, squashed in self._products(after):
            o, inner = self._inside(out, "sigmoid"), self._inside(squashed, "tanh")
            if o is None or inner is None or inner.delay:
                continue
            cells = [s for s in self.states if self.nodes[s].operands == (inner,) and s != h]
            # What reads the cell's new value may read it by the state's own name.
            if inner.node in self.states:
                cells = [inner.node]
                inner = self.nodes[inner.node].operands[0]
            for c in cells:
                found = self._cell(h, c, inner)
                if found is not None:
                    i, f, g = found
                    gates = [self._gate(part, h) for part in (i, f, g, o)]
                    return self._made("LSTM", (h, c), gates)
        return None

    def _cell(self, h: int, c: int, after: Operand) -> tuple[Operand, Operand, Operand] | None:
        terms = self._terms(after)
        if len(terms) != 2:
            return None
        for kept, new in (terms, terms[::-1]):
            for first, second in self._products(kept):
                f = self._inside(first, "sigmoid")
                if f is None or second != Operand(c, 1):
                    continue
                for left, right in self._products(new):
                    i, g = self._inside(left, "sigmoid"), self._inside(right, "tanh")
                    if i is not None and g is not None:
                        return i, f, g
        return None

    def _gru(self, h: int, after: Operand) -> Layer | None:
        """H' = (1 - z) ⊙ n + z ⊙ h, n = tanh(W x + b + r ⊙ (U h + b'))."""
        terms = self._terms(after)
        if len(terms) != 2:
            return None
        for new, kept in (terms, terms[::-1]):
            for gate, before in self._products(kept):
                z = self._inside(gate, "sigmoid")
                if z is None or before != Operand(h, 1):
                    continue
                for rest, squashed in self._products(new):
                    n = self._inside(squashed, "tanh")
                    if n is None or not self._is_rest(rest, gate):
                        continue
                    r, candidate = self._candidate(n, h)
                    if r is not None and candidate is not None:
                        gates = [self._gate(r, h), self._gate(z, h), candidate]
                        return self._made("GRU", (h,), gates)
        return None

    def _candidate(self, operand: Operand, h: int) -> tuple[Operand | None, _Part | None]:
        """The reset gate's argument, and W x + b + r ⊙ (U h + b')."""
        terms = self._terms(operand)
        for index, term in enumerate(terms):
            outer = self._part(terms[:index] + terms[index + 1 :], h)
            for gate, inside in self._products(term):
                r, inner = self._inside(gate, "sigmoid"), self._part(self._terms(inside), h)
                if r is None or outer is None or inner is None:
                    continue
                if outer.of_state or not outer.of_input or inner.of_input or not inner.of_state:
                    continue
                return r, _Part(
                    outer.of_input, outer.source, inner.of_state, outer.biases, inner.biases
                )
        return None, None

    def _gate(self, operand: Operand, h: int) -> _Part | None:
        """W x + U h + biases."""
        found = self._part(self._terms(operand), h)
        return found if found and found.of_input and found.of_state else None

    def _part(self, terms: list[Operand], h: int) -> _Part | None:
        """A sum of at most one W x, at most one U h, and biases."""
        of_input, source, of_state, biases = "", -1, "", list[str]()
        for term in terms:
            bias, product = self._parameter(term), self._product(term)
            if bias:
                biases.append(bias)
            elif product is None:
                return None
            elif product[1] == Operand(h, 1) and not of_state:
                of_state = product[0]
            elif not product[1].delay and not of_input:
                of_input, source = product[0], product[1].node
            else:
                return None
        return _Part(of_input, source, of_state, tuple(biases), ())

    def _made(self, kind: Kind, states: tuple[int, ...], parts: list[_Part | None]) -> Layer | None:
        """The layer, if all gates read one source and are whole."""
        found = [part for part in parts if part is not None]
        if len(found) != len(parts) or len({part.source for part in found}) != 1:
            return None
        source, size = found[0].source, self.nodes[states[0]].size
        if any(self.nodes[state].size != size for state in states):
            return None
        gates = tuple(Gate(p.of_input, p.of_state, p.biases, p.inner) for p in found)
        names = tuple(self.states[state] for state in states)
        return Layer(kind, source, names, gates, self.nodes[source].size, size)

    def _is_rest(self, operand: Operand, gate: Operand) -> bool:
        """Whether it is one less a gate."""
        node = self.nodes[operand.node]
        if operand.delay or node.operation != "subtract":
            return False
        one, other = node.operands
        first = self.nodes[one.node]
        is_one = first.operation == "constant" and first.attributes == (1.0,)
        return is_one and other == gate

    def _terms(self, operand: Operand) -> list[Operand]:
        """What a sum adds up, whichever way it is nested."""
        node = self.nodes[operand.node]
        if operand.delay or node.operation != "add":
            return [operand]
        return [term for part in node.operands for term in self._terms(part)]

    def _products(self, operand: Operand) -> Iterator[tuple[Operand, Operand]]:
        """The factors of an elementwise product, both ways round."""
        node = self.nodes[operand.node]
        if not operand.delay and node.operation == "multiply":
            first, second = node.operands
            if all(self.nodes[o.node].size == node.size for o in (first, second)):
                yield first, second
                yield second, first

    def _inside(self, operand: Operand, function: str) -> Operand | None:
        """What a function is applied to."""
        node = self.nodes[operand.node]
        fits = not operand.delay and node.operation == function and not node.attributes
        return node.operands[0] if fits else None

    def _product(self, operand: Operand) -> tuple[str, Operand] | None:
        """The name of a matrix, and the vector that it is multiplied with."""
        node = self.nodes[operand.node]
        if operand.delay or node.operation != "matmul" or node.attributes != (False,):
            return None
        matrix, vector = node.operands
        name = self._parameter(matrix)
        return (name, vector) if name else None

    def _parameter(self, operand: Operand) -> str:
        node: Node = self.nodes[operand.node]
        return str(node.attributes[0]) if node.operation == "parameter" else ""
