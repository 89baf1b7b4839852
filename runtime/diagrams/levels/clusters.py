"""Build the frames of a diagram: one for each operator application, nested like them."""

from __future__ import annotations

from collections.abc import Callable

from rnnc.operators.graph.operator_graph import Application, OperatorGraph
from rnnc.runtime.diagrams.model.diagram import Cluster
from rnnc.runtime.diagrams.model.labels import name_label

from .variables import source_location


def cluster_key(application: int) -> str:
    """Return the key of an application's frame; empty for the model's own equations."""
    return f"a{application}" if application >= 0 else ""


def build_clusters(
    graph: OperatorGraph, include: Callable[[int], bool] = lambda number: True
) -> tuple[Cluster, ...]:
    """Build frames for the included applications and their ancestors."""
    return tuple(
        Cluster(
            cluster_key(application.id),
            name_label(application.name),
            cluster_key(application.parent),
            application_details(graph, application),
            source_location(application.span),
        )
        for application in graph.applications
        if include(application.id)
    )


def application_details(
    graph: OperatorGraph, application: Application
) -> tuple[tuple[str, str], ...]:
    """Describe an application: its parameters, and how many others share them."""
    parameters = parameters_inside(graph, application)
    total = sum(graph.parameters_by_name[name].numel for name in parameters)
    others = graph.application_counts[application.path] - 1
    details = [("parameters", f"{total:,} in {len(parameters)} arrays")] if parameters else []
    if others:
        details.append(("shares them with", f"{others} more uses of `{application.path}`"))
    return tuple(details)


def parameters_inside(graph: OperatorGraph, application: Application) -> list[str]:
    """Return the parameter names of an operator and of the operators inside it."""
    return graph.parameters_by_operator.get(application.path, [])


def outermost_application(graph: OperatorGraph, number: int) -> int:
    """Return the outermost application around a node's application; -1 for none."""
    outermost_number = -1
    while number >= 0:
        outermost_number = number
        number = graph.applications[number].parent
    return outermost_number
