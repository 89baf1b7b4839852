"""Render a diagram as one self-contained web page: picture and spec, cross-highlighted.

Every state of the page (operators folded or not, rolled up or unrolled) is laid out here and
packed into it, so that the browser needs no layout code, and no network.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from rnnc.grammar.source import Source
from rnnc.grammar.symbols import display_name
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.runtime.diagrams.levels.clusters import cluster_key
from rnnc.runtime.diagrams.levels.diagram_view import DiagramView, build_diagram
from rnnc.runtime.diagrams.levels.layer_level import top_applications
from rnnc.runtime.diagrams.model.diagram import Box, Cluster, Diagram
from rnnc.runtime.diagrams.model.labels import replace_invisible, to_text
from rnnc.runtime.diagrams.model.size_limits import measure_drawing, require_drawable

from .palette import BOX_STYLES, DARK_HIGHLIGHT_COLOR, EDGE_STYLES
from .svg import style_sheet, to_svg

MAX_FOLD_GROUPS: Final = 3
"""Operators that fold separately; in models with more, those of one symbol fold together."""

MAX_PAGE_BYTES: Final = 198_000
"""Bytes above which a page drops some of its pictures."""

_HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class FoldGroup:
    """Operators that fold together: a label, the keys of frames and boxes, the applications."""

    label: str
    keys: tuple[str, ...]
    applications: tuple[int, ...]


def to_html_page(graph: OperatorGraph, source: Source, view: DiagramView) -> str:
    """Render the page as HTML.

    Raises:
        RnnError: RNN650, when pygraphviz is not installed; RNN653, when the first picture would be
            too large. Others that are too large are left out.
    """
    units = fold_groups(graph) if view.level in {"layer", "operator"} else ()
    mask = (1 << len(units)) - 1 if view.level == "operator" else 0
    first = _diagram_of_state(graph, view, units, mask, view.steps)
    require_drawable(first)
    items = _describe_items(first)
    variants: dict[tuple[int, int], str] = {}
    for bits, steps in _page_states(view, units):
        diagram = _diagram_of_state(graph, view, units, bits, steps)
        if not measure_drawing(diagram).fits():
            continue
        items |= {key: item for key, item in _describe_items(diagram).items() if key not in items}
        variants[bits, steps] = _strip_style(to_svg(diagram))
    data = {
        "file": source.name,
        "folded": mask,
        "steps": view.steps,
        "units": [{"label": unit.label, "keys": unit.keys} for unit in units],
    }
    start = (mask, view.steps)
    bare = _render_document(graph, source, variants[start], data, "")
    room = MAX_PAGE_BYTES - len(bare.encode("utf-8"))
    return _render_document(
        graph, source, variants[start], data, _pack_pictures(items, variants, start, room)
    )


def _pack_pictures(
    items: dict[str, Any], variants: dict[tuple[int, int], str], start: tuple[int, int], room: int
) -> str:
    """Compress details and pictures; drop pictures until they fit into `room` bytes.

    The first picture is in the page uncompressed. Of the others, views of three and more steps are
    dropped first.
    """
    full = max(bits for bits, _ in variants)
    droppable = sorted(
        (key for key in variants if key != start and key[1]),
        key=lambda key: (key[1] != 2, key[0] in {0, full}, -key[0]),
    )
    items_json = replace_invisible(json.dumps(items, ensure_ascii=False))
    while True:
        pictures = {f"{m}|{n}": picture for (m, n), picture in variants.items() if (m, n) != start}
        payload = f'{{"items":{items_json},"pictures":{json.dumps(pictures)}}}'
        packed = base64.b64encode(zlib.compress(payload.encode("utf-8"), 9)).decode()
        if len(packed) < room or not droppable:
            return packed
        del variants[droppable.pop(0)]


def fold_groups(graph: OperatorGraph) -> tuple[FoldGroup, ...]:
    """Return the groups of operators that fold, few enough to lay out every state."""
    tops = [graph.applications[number] for number in top_applications(graph)]
    if len(tops) <= MAX_FOLD_GROUPS:
        return tuple(_fold_group(display_name(a.name), [a.id]) for a in tops)
    by_symbol: dict[str, list[int]] = {}
    for application in tops:
        symbol = application.name.partition("_")[0]
        by_symbol.setdefault(symbol, []).append(application.id)
    if len(by_symbol) <= MAX_FOLD_GROUPS:
        return tuple(_fold_group(symbol, numbers) for symbol, numbers in by_symbol.items())
    return (_fold_group("all operators", [application.id for application in tops]),)


def _fold_group(label: str, applications: Sequence[int]) -> FoldGroup:
    return FoldGroup(label, tuple(map(cluster_key, applications)), tuple(applications))


def _page_states(view: DiagramView, units: Sequence[FoldGroup]) -> Iterator[tuple[int, int]]:
    """Yield every state of the page: a bit mask of folded groups, and a number of steps."""
    masks = range(1 << len(units))
    for bits in masks:
        yield bits, 0
    counts = {2, 3, view.steps} - {0} if view.level != "plan" else set()
    for steps in sorted(counts):
        for bits in masks if len(masks) <= 4 else (masks[0], masks[-1]):
            yield bits, steps


def _diagram_of_state(
    graph: OperatorGraph, view: DiagramView, units: Sequence[FoldGroup], mask: int, steps: int
) -> Diagram:
    folded: list[int] | None = None
    if units:
        folded = [a for i, unit in enumerate(units) if mask >> i & 1 for a in unit.applications]
    return build_diagram(graph, view.with_steps(steps), folded=folded)


def _describe_items(diagram: Diagram) -> dict[str, Any]:
    """Describe boxes and frames by their key in the rolled-up diagram."""
    described: dict[str, Any] = {}
    entries: list[tuple[Box | Cluster, str]] = [(box, box.cluster) for box in diagram.boxes]
    entries += [(cluster, cluster.parent) for cluster in diagram.clusters]
    for item, parent in entries:
        key = item.key.partition("_at_")[0].partition("_more_")[0]
        if key in described:
            continue
        described[key] = {
            "label": to_text(item.label),
            "details": item.details,
            "place": asdict(item.location) if item.location else None,
            "cluster": parent.partition("_at_")[0],
        }
    return described


def _strip_style(picture: str) -> str:
    """Remove a picture's style sheet, which the page has once."""
    before, _, remainder = picture.partition("<style>")
    return before + remainder.partition("</style>")[2]


def _render_document(
    graph: OperatorGraph,
    source: Source,
    picture: str,
    data: dict[str, Any],
    packed: str,
) -> str:
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    title = escape(replace_invisible(f"{graph.name}: operator graph"))
    lines = "".join(
        f'<span class="line">{escape(replace_invisible(line))}</span>'
        for line in source.text.rstrip("\n").split("\n")
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{(_HERE / "page.css").read_text(encoding="utf-8")}{style_sheet()}{_dark_style()}</style>
</head>
<body>
<header>
<h1>{escape(replace_invisible(graph.name))}</h1>
<div class="group" role="group" aria-label="Time">
<button data-key="1" data-steps="0" title="rolled up (1)">rolled</button>
<button data-key="2" data-steps="2" title="two steps (2)">2 steps</button>
<button data-key="3" data-steps="3" title="three steps (3)">3 steps</button>
</div>
<div class="group" role="group" aria-label="Operators">
<button class="folding" data-key="f" title="fold every operator (f)">fold</button>
<button class="folding" data-key="u" title="unfold every operator (u)">unfold</button>
</div>
<div class="group" role="group" aria-label="Size">
<button data-key="-" title="smaller (-)" aria-label="smaller">−</button>
<button data-key="0" title="fit (0)">fit</button>
<button data-key="+" title="larger (+)" aria-label="larger">+</button>
</div>
<button data-key="d" title="light or dark (d)">◐</button>
<span id="status" role="status"></span>
</header>
<main id="stage">{picture}</main>
<aside>
<section id="card" aria-live="polite"></section>
<pre id="spec" aria-label="{escape(replace_invisible(source.name))}">{lines}</pre>
</aside>
<script type="application/json" id="data">{_embed_json(data)}</script>
<script type="application/octet-stream" id="packed">{packed}</script>
<script>{script}</script>
</body>
</html>
"""


def _embed_json(value: object) -> str:
    """Encode JSON that cannot close its script element."""
    text = json.dumps(value, ensure_ascii=False)
    return (
        replace_invisible(text)
        .replace("&", "\\u0026")
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
    )


def _dark_style() -> str:
    """Write the style sheet of the dark theme."""
    rules = [
        ".paper{fill:#16181c}",
        "#stage text{fill:#eceff3}#stage .note,#stage .size{fill:#a4abb5}",
        "#stage .cluster rect{fill:#1d2025;stroke:#6b737e}",
    ]
    for role, style in BOX_STYLES.items():
        rules.append(f"#stage .{role}>rect{{fill:{style.dark_fill};stroke:{style.dark_line}}}")
    for kind, stroke in EDGE_STYLES.items():
        rules.append(f"#stage .{kind}>.line{{stroke:{stroke.dark}}}")
        rules.append(f"#stage .{kind}>.tip{{fill:{stroke.dark}}}")
    for kind in ("past", "future"):
        rules.append(f"#stage .{kind}>text{{fill:{EDGE_STYLES[kind].dark}}}")
    rules.append(f"#stage .marked>.line,#stage .marked>rect{{stroke:{DARK_HIGHLIGHT_COLOR}}}")
    rules.append(f"#stage .marked>.tip{{fill:{DARK_HIGHLIGHT_COLOR}}}")
    rules.append("#stage .hot>rect{stroke:var(--hot)}")

    def under(root: str) -> str:
        return "".join(
            ",".join(f"{root} {part}" for part in rule.partition("{")[0].split(","))
            + "{"
            + rule.partition("{")[2]
            for block in rules
            for rule in block.replace("}", "}\n").splitlines()
        )

    dark = under(":root:not([data-theme=light])")
    return f"@media (prefers-color-scheme:dark){{{dark}}}{under(':root[data-theme=dark]')}"
