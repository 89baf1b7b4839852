"""Check causality: no cycle without delay, no mixed cycle, no read of the future.

Input: a finished graph and the reads of states in the text; output: diagnostics RNN217, RNN311
and RNN401 to RNN408. Synchronous languages (Lustre, Esterel) call the first check by this name.
"""

from __future__ import annotations

from collections.abc import Sequence

from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.source import Span
from rnnc.operators.graph.operator_graph import OperatorGraph, Output
from rnnc.operators.graph.topological_order import topological_order
from rnnc.operators.graph.user_spans import is_library_span, user_span

from .state_reads import StateRead


def check_causality(graph: OperatorGraph, reads: Sequence[StateRead], report: Report) -> None:
    """Report violations of causality, and reads that are legal but suspicious."""
    _report_instantaneous_cycles(graph, reads, report)
    if report.has_errors:
        return
    _report_mixed_cycles(graph, report)
    backward = {state.name for state in graph.states if state.node in graph.backward_nodes}
    for read in reads:
        if read.state in backward and read.is_bare:
            report.error(
                "RNN405",
                f"`{read.state}` runs backward in time, and its bare name would be its past",
                read.span,
                hint=f"write `{read.state}'` for this step, `{read.state}[t+1]` for the one after",
            )
        if read.delay < 0 and read.state not in backward:
            report.error(
                "RNN403",
                f"`{read.span.text}` is the future of a state that runs forward",
                read.span,
                hint=f"only a state that depends on its own future is known there: "
                f"`{read.state}[t] = x ⊕ {read.state}[t+1]`",
            )
    if report.has_errors:
        return
    for output in graph.outputs:
        if output.predicted_input is not None:
            _check_prediction(graph, output, report)
        if not output.unscored:
            _check_activation(graph, output, report)
    _report_unused_states(graph, report)


def _report_instantaneous_cycles(
    graph: OperatorGraph, reads: Sequence[StateRead], report: Report
) -> None:
    if len(topological_order(graph)) == len(graph.nodes):
        return
    import networkx as nx

    instantaneous: nx.DiGraph[int] = nx.DiGraph()
    instantaneous.add_edges_from((u, v) for u, v, delay in graph.edges() if delay == 0)
    for component in sorted(nx.strongly_connected_components(instantaneous), key=min):
        first = min(component)
        if len(component) == 1 and not instantaneous.has_edge(first, first):
            continue
        cycle = [edge[0] for edge in nx.find_cycle(instantaneous.subgraph(component), first)]
        names = _cycle_names(graph, cycle)
        span = _first_read_on_cycle(cycle, graph, reads) or _user_span_of_node(graph, cycle[0])
        report.error(
            "RNN401",
            "a cycle without a delay: " + " → ".join(f"`{n}`" for n in [*names, names[0]]),
            span,
            "read here",
            hint="the bare name of a state is its value from the step before; the primed one is "
            "the new value",
        )


def _user_span_of_node(graph: OperatorGraph, number: int) -> Span:
    node = graph.nodes[number]
    return user_span(node.span, node.application, graph.applications)


def _first_read_on_cycle(
    cycle: Sequence[int], graph: OperatorGraph, reads: Sequence[StateRead]
) -> Span | None:
    """Return the first read, within the step, of a state on a cycle."""
    states = {graph.states_by_node[n].name for n in cycle if n in graph.states_by_node}
    span_candidates: list[Span] = []
    for number in cycle:
        node = graph.nodes[number]
        if number not in graph.states_by_node:
            span_candidates.append(node.span)
        application = node.application
        while application >= 0:
            span_candidates.append(graph.applications[application].span)
            application = graph.applications[application].parent
    spans = [
        read.span
        for read in reads
        if read.state in states
        and read.delay == 0
        and any(
            p.source is read.span.source and p.start <= read.span.start < p.end
            for p in span_candidates
        )
    ]
    spans = spans or [r.span for r in reads if r.state in states and r.delay == 0]
    return min(spans, key=lambda span: span.start, default=None)


def _transitive_operands(
    graph: OperatorGraph, start: int, *, within_step: bool = False
) -> set[int]:
    """Return the nodes that a node depends on, itself included.

    within_step: follow edges without delay only.
    """
    reachable: set[int] = set()
    pending = [start]
    while pending:
        node_id = pending.pop()
        if node_id not in reachable:
            reachable.add(node_id)
            pending += [
                o.node for o in graph.nodes[node_id].operands if not (within_step and o.delay)
            ]
    return reachable


def _cycle_names(graph: OperatorGraph, cycle: Sequence[int]) -> list[str]:
    states = graph.states_by_node
    return [f"{states[n].name}'" for n in cycle if n in states] or [graph.nodes[cycle[0]].span.text]


def _report_mixed_cycles(graph: OperatorGraph, report: Report) -> None:
    for component in graph.components:
        members = set(component)
        inner_edges = [
            (operand.node, number, operand.delay)
            for number in component
            for operand in graph.nodes[number].operands
            if operand.node in members
        ]
        past = [edge for edge in inner_edges if edge[2] > 0]
        future = [edge for edge in inner_edges if edge[2] < 0]
        if not past or not future:
            continue
        names = ", ".join(f"`{state.name}`" for state in graph.states if state.node in members)
        report.error(
            "RNN402",
            f"past and future are mixed in one cycle, of {names}",
            _user_span_of_node(graph, future[0][1]),
            "reads the future",
            related=(Label(_user_span_of_node(graph, past[0][1]), "reads the past"),),
            hint="make it two states, one that runs forward and one backward",
        )


def _check_prediction(graph: OperatorGraph, output: Output, report: Report) -> None:
    value = output.value.node
    sources = _transitive_operands(graph, value)
    backward_sources = sorted(sources & graph.backward_nodes)
    if backward_sources:
        names = [
            s.name for s in graph.states if s.node in sources and s.node in graph.backward_nodes
        ]
        report.error(
            "RNN404",
            f"the prediction `{output.name}` has already seen its target: it reads "
            f"`{names[0]}`, which runs backward from the end",
            output.span or graph.nodes[value].span,
            hint="predict from states that run forward; a backward state is for an `output`",
        )
        return
    if _ignores_current_input(graph, value):
        report.warning(
            "RNN408",
            f"the prediction `{output.name}` reads the summary from before the input",
            output.span or graph.nodes[value].span,
            hint=f"write the state with a prime, as in `{output.name} = ▷ h'`, to use this step",
        )


def _ignores_current_input(graph: OperatorGraph, value: int) -> bool:
    """Return true if a value reads old states that depend on the input, but not the input."""
    inputs = {variable.node for variable in graph.inputs}
    current_sources = _transitive_operands(graph, value, within_step=True)
    if current_sources & inputs:
        return False
    delayed_states = {
        operand.node
        for number in current_sources
        for operand in graph.nodes[number].operands
        if operand.delay > 0 and operand.node in graph.states_by_node
    }
    return any(
        _transitive_operands(graph, state, within_step=True) & inputs for state in delayed_states
    )


def _check_activation(graph: OperatorGraph, output: Output, report: Report) -> None:
    node = graph.nodes[output.value.node]
    implied = {"binary": "sigmoid", "symbol": "softmax"}.get(output.type.kind)
    if node.operation != implied:
        return
    report.warning(
        "RNN311",
        f"`{implied}` stands before a target of type {output.type}, which has its own",
        output.span if is_library_span(node.span) and output.span else node.span,
        "applied twice in effect",
        hint=f"a `{output.type.kind}` target takes logits: leave the `{implied}` out",
    )


def _report_unused_states(graph: OperatorGraph, report: Report) -> None:
    read_nodes = {source for source, target, _ in graph.edges() if source != target}
    read_nodes |= {output.value.node for output in graph.outputs}
    for state in graph.states:
        if state.node not in read_nodes:
            report.warning(
                "RNN217",
                f"state `{state.name}` is set but never read",
                graph.nodes[state.node].span,
                hint=f"read it as `{state.name}` (the step before) or `{state.name}'` (this step), "
                "or delete it",
            )
