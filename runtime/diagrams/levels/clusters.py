"""The frames of a diagram: one for each application of an operator, nested as they are."""

from __future__ import annotations

from collections.abc import Callable, Collection

from rnnc.operators.graph.operator_graph import Application, OperatorGraph
from rnnc.runtime.diagrams.model.diagram import Cluster
from rnnc.runtime.diagrams.model.labels import name_label

from .variables import source_location


def cluster_key(application: int) -> str:
    """The key of an application's frame; empty for the model's own equations."""
    return f"a{application}" if application >= 0 else ""


def build_clusters(
    graph: OperatorGraph, include: Callable[[int], bool] = lambda number: True
) -> tuple[Cluster, ...]:
    """Frames for the wanted applications and for all that they lie in."""
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
    """What an application is: its parameters, and the others that share them."""
    mine = parameters_inside(graph, application)
    total = sum(graph.parameters_by_name[name].numel for name in mine)
    twins = graph.application_counts[application.path] - 1
    details = [("parameters", f"{total:,} in {len(mine)} arrays")] if mine else []
    if twins:
        details.append(("shares them with", f"{twins} more uses of `{application.path}`"))
    return tuple(details)


def parameters_inside(graph: OperatorGraph, application: Application) -> list[str]:
    """The names of the parameters of an operator and of those inside it."""
    return graph.parameters_by_operator.get(application.path, [])


def outermost_application(graph: OperatorGraph, number: int, kept: Collection[int] = ()) -> int:
    """The application around a node that lies in no other one (or in a kept one); -1 for none."""
    found = -1
    while number >= 0:
        found = number
        number = graph.applications[number].parent
    return found
