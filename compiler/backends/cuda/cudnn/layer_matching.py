"""Match the operations of a graph against the equations of torch.nn.LSTM, GRU and RNN.

Equations: documentation of `torch.nn.LSTM`, `torch.nn.GRU`, `torch.nn.RNN`. Names play no part;
sums may be nested and ordered in any way and have any number of bias vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rnnc.operators.graph.operator_graph import Node, Operand, OperatorGraph

from .layer_stack import LayerGate, LayerStack, Readout, TorchLayer, TorchLayerKind


def match_layer_stack(graph: OperatorGraph) -> LayerStack | str:
    """Match a whole graph; return its layer stack, or the reason why it is none."""
    if graph.laws or graph.loss_inputs:
        return "it has laws or loss terms"
    if graph.backward_nodes:
        return "a state runs backward"
    if any(state.delay != 1 for state in graph.states) or any(v.max_delay for v in graph.inputs):
        return "it looks back further than one step"
    matcher = _LayerMatcher(graph)
    layers: list[TorchLayer] = []
    matched_states: set[str] = set()
    for state in graph.states:
        layer = matcher.match_layer(state.node)
        if layer is not None:
            layers.append(layer)
            matched_states |= set(layer.states)
    if {state.name for state in graph.states} != matched_states or not layers:
        return "a state is no layer of torch.nn"
    ready_nodes = {variable.node for variable in graph.inputs if variable.type.kind != "symbol"}
    ordered: list[TorchLayer] = []
    pending = layers
    state_nodes = {state.name: state.node for state in graph.states}
    while pending:
        next_layers = [layer for layer in pending if layer.input_node in ready_nodes]
        if not next_layers:
            return "a layer reads neither an input nor another layer"
        ordered += next_layers
        ready_nodes |= {state_nodes[layer.states[0]] for layer in next_layers}
        pending = [layer for layer in pending if layer not in next_layers]
    layer_outputs = {state_nodes[layer.states[0]] for layer in ordered}
    readouts: list[Readout] = []
    for output in graph.outputs:
        readout = matcher.match_readout(output.value, layer_outputs)
        if readout is None:
            return "an output is neither a layer's state nor one matrix times it"
        readouts.append(readout)
    return LayerStack(tuple(ordered), tuple(readouts))


@dataclass(frozen=True, slots=True)
class _GateMatch:
    """A partially matched gate; empty names for missing terms, input_node -1 without a W x."""

    input_weight: str
    input_node: int
    recurrent_weight: str
    biases: tuple[str, ...]
    recurrent_biases: tuple[str, ...]


class _LayerMatcher:
    """A pattern matcher over the nodes of one graph."""

    def __init__(self, graph: OperatorGraph) -> None:
        self.nodes = graph.nodes
        self.states = {state.node: state.name for state in graph.states}

    def match_layer(self, state: int) -> TorchLayer | None:
        """Match the layer whose h is this state node."""
        (update,) = self.nodes[state].operands
        if update.delay or self.nodes[update.node].size != self.nodes[state].size:
            return None
        return (
            self._match_rnn(state, update)
            or self._match_lstm(state, update)
            or self._match_gru(state, update)
        )

    def match_readout(self, operand: Operand, layer_outputs: set[int]) -> Readout | None:
        """Match an output that reads one of these states, directly or through one weight."""
        if operand.delay:
            return None
        if operand.node in layer_outputs:
            return Readout(operand.node, "", ())
        biases: list[str] = []
        matmuls: list[tuple[str, Operand]] = []
        for term in self._sum_terms(operand):
            matmul, bias = self._match_matmul(term), self._parameter_name(term)
            if bias:
                biases.append(bias)
            elif matmul is not None:
                matmuls.append(matmul)
            else:
                return None
        if len(matmuls) != 1 or matmuls[0][1].delay or matmuls[0][1].node not in layer_outputs:
            return None
        return Readout(matmuls[0][1].node, matmuls[0][0], tuple(biases))

    def _match_rnn(self, h: int, update: Operand) -> TorchLayer | None:
        """Match h' = tanh(W x + U h + b), or relu."""
        kinds: dict[str, TorchLayerKind] = {"tanh": "RNN_TANH", "relu": "RNN_RELU"}
        node = self.nodes[update.node]
        if node.operation not in kinds or node.attributes:
            return None
        return self._build_layer(
            kinds[node.operation], (h,), [self._match_gate(node.operands[0], h)]
        )

    def _match_lstm(self, h: int, update: Operand) -> TorchLayer | None:
        """Match c' = f ⊙ c + i ⊙ g, h' = o ⊙ tanh(c')."""
        for output_gate, activation in self._factor_pairs(update):
            o = self._function_argument(output_gate, "sigmoid")
            inner = self._function_argument(activation, "tanh")
            if o is None or inner is None or inner.delay:
                continue
            cells = [s for s in self.states if self.nodes[s].operands == (inner,) and s != h]
            # The operand of tanh may be the state c itself, or the node that computes it.
            if inner.node in self.states:
                cells = [inner.node]
                inner = self.nodes[inner.node].operands[0]
            for c in cells:
                gate_operands = self._match_cell(h, c, inner)
                if gate_operands is not None:
                    i, f, g = gate_operands
                    gates = [self._match_gate(gate, h) for gate in (i, f, g, o)]
                    return self._build_layer("LSTM", (h, c), gates)
        return None

    def _match_cell(
        self, h: int, c: int, update: Operand
    ) -> tuple[Operand, Operand, Operand] | None:
        """Match c' = f ⊙ c + i ⊙ g; return the arguments of i, f and g."""
        terms = self._sum_terms(update)
        if len(terms) != 2:
            return None
        for carry_term, input_term in (terms, terms[::-1]):
            for first, second in self._factor_pairs(carry_term):
                f = self._function_argument(first, "sigmoid")
                if f is None or second != Operand(c, 1):
                    continue
                for left, right in self._factor_pairs(input_term):
                    i = self._function_argument(left, "sigmoid")
                    g = self._function_argument(right, "tanh")
                    if i is not None and g is not None:
                        return i, f, g
        return None

    def _match_gru(self, h: int, update: Operand) -> TorchLayer | None:
        """Match h' = (1 - z) ⊙ n + z ⊙ h, n = tanh(W x + b + r ⊙ (U h + b'))."""
        terms = self._sum_terms(update)
        if len(terms) != 2:
            return None
        for input_term, carry_term in (terms, terms[::-1]):
            for gate, previous in self._factor_pairs(carry_term):
                z = self._function_argument(gate, "sigmoid")
                if z is None or previous != Operand(h, 1):
                    continue
                for complement, activation in self._factor_pairs(input_term):
                    n = self._function_argument(activation, "tanh")
                    if n is None or not self._is_complement(complement, gate):
                        continue
                    r, candidate = self._match_candidate(n, h)
                    if r is not None and candidate is not None:
                        gates = [self._match_gate(r, h), self._match_gate(z, h), candidate]
                        return self._build_layer("GRU", (h,), gates)
        return None

    def _match_candidate(
        self, operand: Operand, h: int
    ) -> tuple[Operand | None, _GateMatch | None]:
        """Match W x + b + r ⊙ (U h + b'); return the argument of r, and the gate."""
        terms = self._sum_terms(operand)
        for index, term in enumerate(terms):
            affine = self._match_affine(terms[:index] + terms[index + 1 :], h)
            for gate, inside in self._factor_pairs(term):
                r, recurrent = (
                    self._function_argument(gate, "sigmoid"),
                    self._match_affine(self._sum_terms(inside), h),
                )
                if r is None or affine is None or recurrent is None:
                    continue
                if (
                    affine.recurrent_weight
                    or not affine.input_weight
                    or recurrent.input_weight
                    or not recurrent.recurrent_weight
                ):
                    continue
                return r, _GateMatch(
                    affine.input_weight,
                    affine.input_node,
                    recurrent.recurrent_weight,
                    affine.biases,
                    recurrent.biases,
                )
        return None, None

    def _match_gate(self, operand: Operand, h: int) -> _GateMatch | None:
        """Match W x + U h + biases, with both weights."""
        match = self._match_affine(self._sum_terms(operand), h)
        return match if match and match.input_weight and match.recurrent_weight else None

    def _match_affine(self, terms: list[Operand], h: int) -> _GateMatch | None:
        """Match a sum of at most one W x, at most one U h, and biases."""
        input_weight, input_node, recurrent_weight, biases = "", -1, "", list[str]()
        for term in terms:
            bias, matmul = self._parameter_name(term), self._match_matmul(term)
            if bias:
                biases.append(bias)
            elif matmul is None:
                return None
            elif matmul[1] == Operand(h, 1) and not recurrent_weight:
                recurrent_weight = matmul[0]
            elif not matmul[1].delay and not input_weight:
                input_weight, input_node = matmul[0], matmul[1].node
            else:
                return None
        return _GateMatch(input_weight, input_node, recurrent_weight, tuple(biases), ())

    def _build_layer(
        self, kind: TorchLayerKind, states: tuple[int, ...], gate_matches: list[_GateMatch | None]
    ) -> TorchLayer | None:
        """Return the layer if all gates matched, read one input and have one size."""
        matches = [match for match in gate_matches if match is not None]
        if len(matches) != len(gate_matches) or len({match.input_node for match in matches}) != 1:
            return None
        input_node, hidden_size = matches[0].input_node, self.nodes[states[0]].size
        if any(self.nodes[state].size != hidden_size for state in states):
            return None
        gates = tuple(
            LayerGate(p.input_weight, p.recurrent_weight, p.biases, p.recurrent_biases)
            for p in matches
        )
        names = tuple(self.states[state] for state in states)
        return TorchLayer(kind, input_node, names, gates, self.nodes[input_node].size, hidden_size)

    def _is_complement(self, operand: Operand, gate: Operand) -> bool:
        """Test for 1 - gate."""
        node = self.nodes[operand.node]
        if operand.delay or node.operation != "subtract":
            return False
        one, other = node.operands
        first = self.nodes[one.node]
        is_one = first.operation == "constant" and first.attributes == (1.0,)
        return is_one and other == gate

    def _sum_terms(self, operand: Operand) -> list[Operand]:
        """Return the terms of a nested sum."""
        node = self.nodes[operand.node]
        if operand.delay or node.operation != "add":
            return [operand]
        return [term for summand in node.operands for term in self._sum_terms(summand)]

    def _factor_pairs(self, operand: Operand) -> Iterator[tuple[Operand, Operand]]:
        """Yield the factors of an elementwise product in both orders."""
        node = self.nodes[operand.node]
        if not operand.delay and node.operation == "multiply":
            first, second = node.operands
            if all(self.nodes[o.node].size == node.size for o in (first, second)):
                yield first, second
                yield second, first

    def _function_argument(self, operand: Operand, function: str) -> Operand | None:
        """Return the operand of an application of `function`, or None."""
        node = self.nodes[operand.node]
        fits = not operand.delay and node.operation == function and not node.attributes
        return node.operands[0] if fits else None

    def _match_matmul(self, operand: Operand) -> tuple[str, Operand] | None:
        """Match parameter · vector; return the parameter's name and the vector."""
        node = self.nodes[operand.node]
        if operand.delay or node.operation != "matmul" or node.attributes != (False,):
            return None
        matrix, vector = node.operands
        name = self._parameter_name(matrix)
        return (name, vector) if name else None

    def _parameter_name(self, operand: Operand) -> str:
        node: Node = self.nodes[operand.node]
        return str(node.attributes[0]) if node.operation == "parameter" else ""
