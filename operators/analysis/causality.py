"""What must hold of a finished graph in time: no cycle without delay, no mixture, no future."""

from __future__ import annotations

from collections.abc import Sequence

from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.source import Span
from rnnc.operators.graph.operator_graph import OperatorGraph, Output
from rnnc.operators.graph.user_spans import is_library_span, user_span

from .state_reads import StateRead


def check_causality(graph: OperatorGraph, reads: Sequence[StateRead], report: Report) -> None:
    """Report what a graph does wrong in time, and what is legal but suspicious."""
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
    if not _has_instantaneous_cycle(graph):
        return
    import networkx as nx

    instant: nx.DiGraph[int] = nx.DiGraph()
    instant.add_edges_from((u, v) for u, v, delay in graph.edges() if delay == 0)
    for component in sorted(nx.strongly_connected_components(instant), key=min):
        first = min(component)
        if len(component) == 1 and not instant.has_edge(first, first):
            continue
        cycle = [edge[0] for edge in nx.find_cycle(instant.subgraph(component), first)]
        names = _cycle_names(graph, cycle)
        place = _first_read_on_cycle(cycle, graph, reads) or _user_span_of_node(graph, cycle[0])
        report.error(
            "RNN401",
            "a cycle without a delay: " + " → ".join(f"`{n}`" for n in [*names, names[0]]),
            place,
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
    """Where a cycle first reads, within the step, one of the states on it."""
    states = {graph.states_by_node[n].name for n in cycle if n in graph.states_by_node}
    places: list[Span] = []
    for number in cycle:
        node = graph.nodes[number]
        if number not in graph.states_by_node:
            places.append(node.span)
        application = node.application
        while application >= 0:
            places.append(graph.applications[application].span)
            application = graph.applications[application].parent
    found = [
        read.span
        for read in reads
        if read.state in states
        and read.delay == 0
        and any(p.source is read.span.source and p.start <= read.span.start < p.end for p in places)
    ]
    found = found or [r.span for r in reads if r.state in states and r.delay == 0]
    return min(found, key=lambda span: span.start, default=None)


def _has_instantaneous_cycle(graph: OperatorGraph) -> bool:
    """Whether some node needs its own value of the same step."""
    waiting = [sum(o.delay == 0 for o in node.operands) for node in graph.nodes]
    readers: list[list[int]] = [[] for _ in graph.nodes]
    for source, target, delay in graph.edges():
        if delay == 0:
            readers[source].append(target)
    ready = [number for number, count in enumerate(waiting) if not count]
    done = 0
    while ready:
        done += 1
        for reader in readers[ready.pop()]:
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    return done < len(graph.nodes)


def _transitive_operands(
    graph: OperatorGraph, start: int, *, within_step: bool = False
) -> set[int]:
    """The nodes that a node depends on, itself included; of all steps, or of its own alone."""
    found: set[int] = set()
    waiting = [start]
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            waiting += [
                o.node for o in graph.nodes[number].operands if not (within_step and o.delay)
            ]
    return found


def _cycle_names(graph: OperatorGraph, cycle: Sequence[int]) -> list[str]:
    states = graph.states_by_node
    return [f"{states[n].name}'" for n in cycle if n in states] or [graph.nodes[cycle[0]].span.text]


def _report_mixed_cycles(graph: OperatorGraph, report: Report) -> None:
    for component in graph.components:
        members = set(component)
        inner = [
            (operand.node, number, operand.delay)
            for number in component
            for operand in graph.nodes[number].operands
            if operand.node in members
        ]
        past = [edge for edge in inner if edge[2] > 0]
        future = [edge for edge in inner if edge[2] < 0]
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
    seen = _transitive_operands(graph, value)
    ahead = sorted(seen & graph.backward_nodes)
    if ahead:
        names = [s.name for s in graph.states if s.node in seen and s.node in graph.backward_nodes]
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
    """Whether a value depends on old states, not on this step's input, while the states do."""
    inputs = {variable.node for variable in graph.inputs}
    now = _transitive_operands(graph, value, within_step=True)
    if now & inputs:
        return False
    old = {
        operand.node
        for number in now
        for operand in graph.nodes[number].operands
        if operand.delay > 0 and operand.node in graph.states_by_node
    }
    return any(_transitive_operands(graph, state, within_step=True) & inputs for state in old)


def _check_activation(graph: OperatorGraph, output: Output, report: Report) -> None:
    node = graph.nodes[output.value.node]
    own = {"binary": "sigmoid", "symbol": "softmax"}.get(output.type.kind)
    if node.operation != own:
        return
    report.warning(
        "RNN311",
        f"`{own}` stands before a target of type {output.type}, which has its own",
        output.span if is_library_span(node.span) and output.span else node.span,
        "applied twice in effect",
        hint=f"a `{output.type.kind}` target takes logits: leave the `{own}` out",
    )


def _report_unused_states(graph: OperatorGraph, report: Report) -> None:
    read = {source for source, target, _ in graph.edges() if source != target}
    read |= {output.value.node for output in graph.outputs}
    for state in graph.states:
        if state.node not in read:
            report.warning(
                "RNN217",
                f"state `{state.name}` is set but never read",
                graph.nodes[state.node].span,
                hint=f"read it as `{state.name}` (the step before) or `{state.name}'` (this step), "
                "or delete it",
            )
