"""Route the edges of a text drawing: a net per value in the channels between layers."""

from __future__ import annotations

from collections.abc import Mapping

from rnnc.runtime.diagrams.model.diagram import Box, Diagram

from .edge_channels import Net
from .layered_layout import LayeredGrid, LayerItem


def line_kind(boxes: Mapping[str, Box], item: LayerItem) -> str:
    """Return the line style of a value that passes a layer, by the role of its box."""
    role = boxes[item.key].role
    return role if role in {"past", "future"} else "flow"


def build_channels(
    diagram: Diagram, grid: LayeredGrid, items: Mapping[str, LayerItem], widest: int
) -> list[list[Net]]:
    """Build the nets of every channel; channel `n` lies above layer `n`."""
    boxes = diagram.boxes_by_key
    channels: list[list[Net]] = [[] for _ in range(len(grid.layers) + 1)]
    delayed_edges = [] if diagram.steps else [e for e in diagram.edges if e.delay]
    incoming: dict[int, list[LayerItem]] = {}
    for links in grid.links:
        for above, below in links:
            incoming.setdefault(id(below), []).append(above)
    for number, links in enumerate(grid.links):
        nets: dict[int, Net] = {}
        leaving = {above.middle: above.key for above, _ in links}
        for above, below in links:
            role = boxes[above.key].role
            kind = role if role in {"past", "future"} else "flow"
            net = nets.setdefault(id(above), Net(kind))
            net.above = [above.middle]
            if below.is_passing:
                net.below.append(below.column)
            else:
                port = _entry_column(below, above, incoming[id(below)], leaving)
                net.below.append(port)
                net.arrow_columns.append(port)
        channels[number + 1] += nets.values()
    order = sorted(delayed_edges, key=lambda e: items[e.source].layer - items[e.target].layer)
    for index, edge in enumerate(order):
        rail = widest + 2 + 2 * index
        source, target = items[edge.source], items[edge.target]
        right = (
            source.column
            + source.width
            - 1
            - sum(1 for e in order[:index] if e.source == edge.source)
        )
        if source.layer + 1 == target.layer:
            direct = Net(edge.kind, [right], [target.middle], [target.middle])
            channels[target.layer].append(direct)
            continue
        channels[source.layer + 1].append(Net(edge.kind, [right], [], [], rail))
        channels[target.layer].append(Net(edge.kind, [], [target.middle], [target.middle], rail))
    return channels


def _entry_column(
    below: LayerItem, above: LayerItem, feeding: list[LayerItem], leaving: Mapping[int, str]
) -> int:
    """Choose the column at which a value enters a box: straight if possible, else in order."""
    box_columns = range(below.column, below.column + below.width)
    if len(feeding) == 1:
        if above.middle in box_columns and below.width > 2:
            return above.middle
        target = below.middle
    else:
        ranked = sorted(feeding, key=lambda item: item.middle)
        rank = next(i for i, item in enumerate(ranked) if item is above)
        target = below.column + round((rank + 0.5) * below.width / len(ranked) - 0.5)
    for column in (target, target + 1, target - 1):
        if column in box_columns and leaving.get(column, above.key) == above.key:
            return column
    return target
