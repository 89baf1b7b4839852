"""Draw a diagram in characters for a terminal; in ASCII on request."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from typing import Final

from rnnc.runtime.diagrams.model.diagram import Box, Diagram
from rnnc.runtime.diagrams.model.labels import replace_invisible, to_ascii, to_text
from rnnc.runtime.diagrams.model.size_limits import require_drawable

from .canvas import Canvas
from .edge_channels import assign_rows
from .edge_routing import build_channels, line_kind
from .layered_layout import LayeredGrid, arrange_layers

MAX_COLUMNS: Final = 100
"""Columns above which a drawing leaves out shapes."""

_BRACKETS: Final = {
    "map": ("[", "]"),
    "value": ("[", "]"),
    "unit": ("(", ")"),
    "point": ("(", ")"),
    "law": ("(", ")"),
    "operator": ("(", ")"),
    "state": ("⟨", "⟩"),
    "input": ("", ""),
    "output": ("", ""),
    "past": ("", ""),
    "future": ("", ""),
}


def draw_text(diagram: Diagram, *, ascii_only: bool = False) -> str:
    """Draw title, diagram and captions as lines without trailing blanks.

    Raises:
        RnnError: RNN653, when it would be too large.
    """
    require_drawable(diagram)
    lines = _draw(diagram, notes=True, ascii_only=ascii_only)
    if max(map(display_width, lines), default=0) > MAX_COLUMNS:
        lines = _draw(diagram, notes=False, ascii_only=ascii_only)
    captions = [
        to_ascii(replace_invisible(c)) if ascii_only else replace_invisible(c)
        for c in diagram.captions
    ]
    title = replace_invisible(f"{diagram.name} · {diagram.level} level")
    head = to_ascii(title.replace("·", "-")) if ascii_only else title
    return "\n".join([head, "", *lines, *([""] if captions else []), *captions]) + "\n"


def display_width(line: str) -> int:
    """Return the number of terminal columns of a text."""
    wide = sum(unicodedata.east_asian_width(c) in {"W", "F"} for c in line)
    return len(line) + wide - sum(unicodedata.combining(c) > 0 for c in line)


def _box_text(box: Box, prefix: str, *, notes: bool, ascii_only: bool) -> str:
    parts = [to_text(box.label, ascii_only=ascii_only)]
    notes_text = [to_text(note, ascii_only=ascii_only).replace(" × ", "×") for note in box.notes]
    if notes or box.role == "unit":
        parts += [note.replace(" x ", "x") for note in notes_text]
    left, right = _BRACKETS[box.role]
    if ascii_only:
        left, right = left.replace("⟨", "<"), right.replace("⟩", ">")
    text = " ".join(parts)
    return f"{left}{prefix}{text}{right}"


def _draw(diagram: Diagram, *, notes: bool, ascii_only: bool) -> list[str]:
    entering = Counter(edge.target for edge in diagram.edges)
    outgoing_delays = Counter(edge.source for edge in diagram.edges if edge.delay)
    gutters: dict[int, str] = {}
    prefixes: dict[str, str] = {}
    texts: dict[str, str] = {}
    for attempt in range(2):
        for box in diagram.boxes:
            text = _box_text(box, prefixes.get(box.key, ""), notes=notes, ascii_only=ascii_only)
            min_width = max(2 * entering[box.key] - 1, 2 * outgoing_delays[box.key] + 1)
            texts[box.key] = text.center(min_width) if display_width(text) < min_width else text
        grid = arrange_layers(diagram, {key: display_width(text) for key, text in texts.items()})
        gutters, prefixes = _operator_names(diagram, grid, ascii_only=ascii_only)
        if attempt == 0 and not prefixes:
            break
    return _paint(diagram, grid, texts, gutters, ascii_only=ascii_only)


def _operator_names(
    diagram: Diagram, grid: LayeredGrid, *, ascii_only: bool
) -> tuple[dict[int, str], dict[str, str]]:
    """Choose how boxes show their operator.

    An operator alone in its layers has its name beside them (first result, by layer); elsewhere
    each box has its operator's name as a prefix (second result, by box).
    """
    parents = {c.key: c.parent for c in diagram.clusters}
    names = {c.key: to_text(c.label, ascii_only=ascii_only) for c in diagram.clusters}

    def outermost(key: str) -> str:
        while key and parents[key]:
            key = parents[key]
        return key

    operator_of = {box.key: outermost(box.cluster) for box in diagram.boxes}
    layers: dict[str, set[int]] = {}
    operators_by_layer: list[set[str]] = []
    for number, layer in enumerate(grid.layers):
        operators = {operator_of[item.key] for item in layer if not item.is_passing} - {""}
        operators_by_layer.append(operators)
        for key in operators:
            layers.setdefault(key, set()).add(number)
    gutter_names: dict[int, str] = {}
    prefixes: dict[str, str] = {}
    for key, numbers in layers.items():
        short_name = names[key].partition(" · ")[0]
        span = range(min(numbers), max(numbers) + 1)
        if all(operators_by_layer[number] <= {key} for number in span):
            gutter_names |= dict.fromkeys(span, short_name)
        else:
            prefixes |= {b: f"{short_name}." for b, o in operator_of.items() if o == key}
    return gutter_names, prefixes


def _paint(
    diagram: Diagram,
    grid: LayeredGrid,
    texts: Mapping[str, str],
    gutters: Mapping[int, str],
    *,
    ascii_only: bool,
) -> list[str]:
    boxes = diagram.boxes_by_key
    margin = max((display_width(name) + 3 for name in gutters.values()), default=0)
    widest = max(i.column + i.width for layer in grid.layers for i in layer)
    items = {i.key: i for layer in grid.layers for i in layer if not i.is_passing}
    channels = build_channels(diagram, grid, items, widest)
    canvas = Canvas(ascii_only=ascii_only)
    row = 0
    rails: dict[int, list[int]] = {}
    for number in range(-1, len(grid.layers)):
        if number >= 0:
            for item in grid.layers[number]:
                if item.is_passing:
                    canvas.draw_line(row, row, margin + item.column, "flow", line_kind(boxes, item))
                else:
                    canvas.write(row, margin + item.column, texts[item.key])
            if number in gutters:
                first = gutters.get(number - 1) != gutters[number]
                canvas.draw_gutter(row, gutters[number] if first else "", margin)
            row += 1
        nets = channels[number + 1]
        count = assign_rows(nets)
        arrows = any(net.arrow_columns for net in nets)
        height = count + int(arrows or (bool(nets) and not count))
        for net in nets:
            canvas.draw_net(net, row, height, margin)
            if net.rail is not None:
                rails.setdefault(net.rail, []).append(row + net.row)
        if number + 1 in gutters and gutters.get(number) == gutters[number + 1]:
            for between in range(row, row + height):
                canvas.draw_gutter(between, "", margin)
        row += height
    for rail, ends in rails.items():
        kind = next(n.kind for nets in channels for n in nets if n.rail == rail)
        canvas.draw_rail(min(ends), max(ends), margin + rail, kind)
    return canvas.to_lines()
