"""Check that a spec has the inputs and outputs of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from rnnc.grammar.diagnostics.errors import fail
from rnnc.runtime.tasks.task import Problem, Task

if TYPE_CHECKING:
    from rnnc.operators.graph.operator_graph import OperatorGraph

TIMING_DESCRIPTIONS = {
    "next input": "a prediction of its input",
    "every step": "an output at every step",
    "at end": "an output at the end",
}


def check_compatibility(task: Task, problem: Problem, graph: OperatorGraph) -> None:
    """Raise RnnError RNN620, naming both sides, if the spec does not match the task."""

    def misfit(expected: str, actual: str) -> NoReturn:
        fail(
            "RNN620",
            f"task `{task.name}` {expected}, but `{graph.name}` {actual}",
            hint=f"the task needs {task.needs}",
        )

    if len(graph.inputs) != 1:
        names = ", ".join(f"`{graph_input.name}`" for graph_input in graph.inputs) or "none"
        misfit("has one input", f"has {len(graph.inputs)} ({names})")
    graph_input = graph.inputs[0]
    if graph_input.type != problem.input:
        misfit(f"gives `{problem.input}`", f"takes `{graph_input.name}: {graph_input.type}`")
    if len(graph.scored_outputs) != 1:
        names = ", ".join(f"`{output.name}`" for output in graph.scored_outputs) or "none"
        misfit("scores one output", f"has {len(graph.scored_outputs)} ({names})")
    output = graph.scored_outputs[0]
    timing = "next input" if output.predicted_input else "at end" if output.at_end else "every step"
    if timing != problem.target_timing:
        misfit(
            f"scores {TIMING_DESCRIPTIONS[problem.target_timing]}",
            f"gives {TIMING_DESCRIPTIONS[timing]}, `{output.name}`",
        )
    if output.type != problem.target:
        misfit(f"scores `{problem.target}`", f"gives `{output.name}: {output.type}`")
    if graph.loss_targets and not output.predicted_input:
        name = f"`{graph_input.name}'`"
        misfit("gives no next inputs", f"reads {name} in a `loss` line, and does not predict it")
