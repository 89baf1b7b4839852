"""Which constructs of the language a spec holds, seen in its text and in its operator graph."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from rnnc.grammar.symbols import display_name
from rnnc.operators.graph import Node, OperatorGraph
from rnnc.operators.modules import LIBRARY

from .specs import Spec

Detector = Callable[[Spec, OperatorGraph], bool]


def _text(pattern: str) -> Detector:
    found = re.compile(pattern, re.MULTILINE)
    return lambda spec, graph: found.search(spec.text) is not None


def _operation(*names: str) -> Detector:
    return lambda spec, graph: any(node.operation in names for node in graph.nodes)


def _in_loss(*names: str) -> Detector:
    """Operations in the graph of a model, or in that of its `loss` terms."""

    def found(spec: Spec, graph: OperatorGraph) -> bool:
        graphs = [graph] if graph.losses is None else [graph, graph.losses.graph]
        return any(node.operation in names for g in graphs for node in g.nodes)

    return found


def _window(test: Callable[[OperatorGraph, Node], bool]) -> Detector:
    return lambda spec, graph: any(
        node.operation == "window" and test(graph, node) for node in graph.nodes
    )


def _own_window(graph: OperatorGraph, node: Node) -> bool:
    """Whether a window lies in a cycle."""
    source = node.operands[0].node
    return any(source in c and node.number in c for c in graph.components)


def _parameter(test: Callable[..., bool]) -> Detector:
    return lambda spec, graph: any(test(parameter) for parameter in graph.parameters)


def _initial(kind: str) -> Detector:
    return lambda spec, graph: any(s.initial.kind == kind for s in graph.states)


def _begins(name: str) -> Detector:
    return _parameter(lambda p: any(call.name == name for call in p.initial))


def _is_default(symbol: str) -> Detector:
    """A use of an operator whose definition is the library's."""

    def found(spec: Spec, graph: OperatorGraph) -> bool:
        defined = set(re.findall(rf"operator [^=:]*?({symbol}[₀-₉]*)", spec.text))
        return any(
            a.name[0] == symbol and display_name(a.name) not in defined for a in graph.applications
        )

    return found


def _nested(spec: Spec, graph: OperatorGraph) -> bool:
    return any(application.parent >= 0 for application in graph.applications)


def _tied(spec: Spec, graph: OperatorGraph) -> bool:
    """One matrix in two different products of one operator's use, or in two operators."""
    users: dict[int, int] = {}
    for node in graph.nodes:
        if node.operation in {"matmul", "lookup"}:
            users[node.operands[0].node] = users.get(node.operands[0].node, 0) + 1
    return any(count > 1 for count in users.values())


def _transposed(spec: Spec, graph: OperatorGraph) -> bool:
    return any(n.operation in {"matmul", "lookup"} and n.attributes[0] for n in graph.nodes)


def _scan(spec: Spec, graph: OperatorGraph) -> bool:
    """A cycle through elementwise operations alone."""
    return any(
        component and component[0] in graph.recurrent
        and all(
            graph.nodes[n].operation in {"state", "add", "subtract", "multiply", "negate"}
            for n in component
        )
        for component in graph.components
    )  # fmt: skip


CONSTRUCTS: Final[dict[str, Detector]] = {
    "default ⊕": _is_default("⊕"),
    "default ▷": _is_default("▷"),
    "defined on one line": _text(r"^ *operator x \S+ h = "),
    "defined in a block": _text(r"^ *operator x \S+ h:$"),
    "defined ▷": _text(r"^ *operator ▷\S* h"),
    "tuples": _text(r"^ *operator x \S+ \(h, c\)"),
    "several results": _text(r"^ *\(h', \w'\)|^ *\(\w', \w'\)"),
    "free infix operator": _text(r"[⊗⊖⊛⊞⊠]"),
    "free prefix operator": _text(r"[◁△▽]"),
    "named operator": _text(r"^ *operator (cell|mix)\d"),
    "typed operands": _text(r"operator .*: real\[\w+\], h: real"),
    "operator inside an operator": _nested,
    "template": _text(r"= deep\(\w"),
    "several instances": _text(r"operator \S+, \S+ = "),
    "operator in a model": _text(r"^    operator \S"),
    "use": _text(r"^use "),
    "for": _text(r"^ *for l in"),
    "if": _text(r"^ *if "),
    "for in a model": _text(r"^ *k_"),
    "model parameters": _text(r"^model net\(\w"),
    "parameter without default": lambda spec, graph: bool(spec.sizes),
    "size expression": _text(r"\[2 \* \w+\]"),
    "computed subscript": _text(r"_\{"),
    "runs backward": lambda spec, graph: bool(graph.backward),
    "delay of a state": lambda spec, graph: any(s.delay > 1 for s in graph.states),
    "far future": lambda spec, graph: any(s.delay < -1 for s in graph.states),
    "delay of an input": lambda spec, graph: any(i.history > 0 for i in graph.inputs),
    "delay of a symbol": lambda spec, graph: any(
        i.history > 0 and i.type.kind == "symbol" for i in graph.inputs
    ),
    "h[t] = …": _text(r"^ *\w\[t\] ="),
    "x[t+1] = …": _text(r"^ *\w\[t\+1\] ="),
    "learned initial value": _initial("learned"),
    "drawn initial value": _initial("uniform"),
    "constant initial value": lambda spec, graph: any(
        s.initial.kind == "constant" and s.initial.low for s in graph.states
    ),
    "symbol input": lambda spec, graph: any(i.type.kind == "symbol" for i in graph.inputs),
    "binary input": lambda spec, graph: any(i.type.kind == "binary" for i in graph.inputs),
    "several inputs": lambda spec, graph: len(graph.inputs) > 1,
    "several outputs": lambda spec, graph: len(graph.outputs) > 1,
    "prediction": lambda spec, graph: any(o.predicts for o in graph.outputs),
    "output": lambda spec, graph: any(not o.predicts for o in graph.outputs),
    "at end": lambda spec, graph: any(o.at_end for o in graph.outputs),
    "binary target": lambda spec, graph: any(o.type.kind == "binary" for o in graph.outputs),
    "symbol target": lambda spec, graph: any(o.type.kind == "symbol" for o in graph.outputs),
    "one step of delay, elementwise": _scan,
    "transposed": _transposed,
    "tied": _tied,
    "lookup": _operation("lookup"),
    "one-hot": _operation("onehot"),
    "concatenation": _operation("concatenate"),
    "split": _text(r"= split\("),
    "diagonal": _parameter(lambda p: p.form == "diagonal"),
    "vector": _text(r": vector"),
    "blocks": _parameter(lambda p: p.form == "blocks"),
    "frozen": _parameter(lambda p: p.frozen),
    "weightdrop": _parameter(lambda p: p.weightdrop > 0),
    "annotated shape": _text(r"param \w+: real\["),
    "law": lambda spec, graph: bool(graph.laws),
    "loss": lambda spec, graph: graph.losses is not None,
    "loss of a target": lambda spec, graph: graph.losses is not None and any(
        v.name.endswith("'") for v in graph.losses.graph.inputs
    ),
    "window of a state": _window(
        lambda graph, node: graph.nodes[node.operands[0].node].operation == "state"
    ),
    "window of an input": _window(
        lambda graph, node: graph.nodes[node.operands[0].node].operation == "input"
    ),
    "window in a cycle": _window(_own_window),
    **{name: _in_loss(name) for name in
       ("present", "scores", "mix", "matches", "log_mix", "masked_softmax", "logsumexp",
        "logaddexp")},
    **{name: _begins(name) for name in
       ("orthogonal", "sparse", "scale", "radius", "normal", "uniform", "constant")},
    **{name: _operation(name) for name in
       ("tanh", "sigmoid", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "softsign",
        "exp", "log", "abs", "sqrt", "sin", "cos", "softmax", "maxout", "lp", "dropout",
        "variational", "zoneout", "layernorm", "rmsnorm", "sum", "dot", "stopgrad", "add",
        "subtract", "multiply", "divide", "negate")},
    "identity": _text(r"identity\("),
}  # fmt: skip

if not (LIBRARY / "gated.rnn").exists():
    del CONSTRUCTS["use"]
