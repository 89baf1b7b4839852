"""Every zoo model at every level in every format, parsed by an independent reader."""

from __future__ import annotations

import base64
import json
import math
import re
import struct
import zlib
from collections import Counter
from functools import cache
from xml.etree import ElementTree

import pygraphviz
import pytest

from rnnc.operators.sources.zoo import zoo_names, zoo_source
from rnnc.runtime.diagrams.formats import FORMATS_BY_SUFFIX
from rnnc.runtime.diagrams.levels.diagram_view import DiagramView, build_diagram
from rnnc.runtime.diagrams.model.diagram import LEVELS, Diagram, Level
from rnnc.runtime.diagrams.model.labels import to_text
from rnnc.runtime.diagrams.render.dot import to_dot
from rnnc.runtime.diagrams.render.html_page import to_html_page
from rnnc.runtime.diagrams.render.mermaid import to_mermaid
from rnnc.runtime.diagrams.render.pdf_png import to_pdf_or_png
from rnnc.runtime.diagrams.render.svg import to_svg
from rnnc.runtime.diagrams.text.drawing import draw_text
from support.diagrams import diagram_edges, parse_edges, zoo_graph

SVG = "{http://www.w3.org/2000/svg}"
COARSE = 24
"""Resolution that is enough to check a PNG, and fast."""


@cache
def picture(name: str, level: Level) -> Diagram:
    return build_diagram(zoo_graph(name), DiagramView(level, details=("shapes", "params", "depth")))


def check_text(name: str, level: Level) -> None:
    diagram = picture(name, level)
    drawing = draw_text(diagram)
    first, *lines = drawing.splitlines()
    assert first == f"{name} · {diagram.level} level"
    assert not [line for line in lines if line != line.rstrip()]
    for box in diagram.boxes:
        assert to_text(box.label) in drawing
    assert draw_text(diagram, ascii_only=True).isascii()


def check_dot(name: str, level: Level) -> None:
    diagram = picture(name, level)
    source = to_dot(diagram)
    assert parse_edges(source) == diagram_edges(diagram)
    drawing = pygraphviz.AGraph(string=source)
    assert {n: n.attr["role"] for n in drawing.nodes()} == {b.key: b.role for b in diagram.boxes}


def check_mermaid(name: str, level: Level) -> None:
    diagram = picture(name, level)
    lines = [line.strip() for line in to_mermaid(diagram).splitlines()]
    assert lines[0] == "flowchart LR"
    arrows = [re.fullmatch(r'(\w+) (-->|-\.->)(?:\|".*"\|)? (\w+)', line) for line in lines]
    edges = [(a[1], a[3], a[2] == "-.->") for a in arrows if a]
    assert edges == [(e.source, e.target, e.kind != "flow") for e in diagram.edges]
    boxes = Counter(line[: m.end()] for line in lines if (m := re.match(r"\w+(?=[(\[])", line)))
    assert boxes == Counter(box.key for box in diagram.boxes)
    assert sum(line.startswith("subgraph ") for line in lines) == lines.count("end")


def drawing_of(source: str) -> ElementTree.Element:
    """Return the boxes and curves of an SVG, without its legend."""
    (group,) = [g for g in ElementTree.fromstring(source) if g.get("class") == "drawing"]
    return group


def check_svg(name: str, level: Level) -> None:
    diagram = picture(name, level)
    source = to_svg(diagram)
    groups = [(g, g.get("class", "").split()) for g in drawing_of(source).iter(f"{SVG}g")]
    boxes = [g for g, kinds in groups if "box" in kinds]
    assert [g.get("id") for g in boxes] == [box.key for box in diagram.boxes]
    curves = [(g.get("data-from"), g.get("data-to")) for g, kinds in groups if "edge" in kinds]
    assert curves == [(e.source, e.target) for e in diagram.edges]
    root = ElementTree.fromstring(source)
    assert not {e.tag for e in root.iter()} & {f"{SVG}script", f"{SVG}image", f"{SVG}a"}
    assert "recurrent depth" in "".join(root.itertext())


def check_png(name: str, level: Level) -> None:
    diagram = picture(name, level)
    data = to_pdf_or_png(diagram, "png", dpi=COARSE)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data.endswith(b"IEND\xaeB`\x82")
    wide, high = struct.unpack(">II", data[16:24])
    box = ElementTree.fromstring(to_svg(diagram)).get("viewBox", "").split()
    for actual, expected in ((wide, float(box[2])), (high, float(box[3]))):
        assert math.isclose(actual, expected * COARSE / 72, rel_tol=0.15, abs_tol=12)


def check_pdf(name: str, level: Level) -> None:
    data = to_pdf_or_png(picture(name, level), "pdf")
    assert data.startswith(b"%PDF-")
    assert data.rstrip().endswith(b"%%EOF")
    assert len(data) > 5000


def check_html(name: str, level: Level) -> None:
    graph, source = zoo_graph(name), zoo_source(name)
    document = to_html_page(graph, source, DiagramView(level))
    assert len(document.encode("utf-8")) < 200_000
    packed = re.search(r'id="packed">([^<]*)<', document)
    assert packed
    held = json.loads(zlib.decompress(base64.b64decode(packed[1])))
    first = re.search(r'<main id="stage">(.*?)</main>', document, re.DOTALL)
    assert first
    keys = {g.get("id", "") for g in drawing_of(first[1]).iter() if g.get("id")}
    assert keys <= set(held["items"])
    assert keys >= {f"n{i.node}" for i in graph.inputs} | {f"n{s.node}" for s in graph.states}
    steps = {key.partition("|")[2] for key in held["pictures"]}
    assert steps >= ({"2", "3"} if level != "plan" else set())
    for other in held["pictures"].values():
        drawing_of(other)


CHECKS = {
    "text": check_text,
    "dot": check_dot,
    "mermaid": check_mermaid,
    "svg": check_svg,
    "png": check_png,
    "pdf": check_pdf,
    "html": check_html,
}


def test_no_format_is_forgotten() -> None:
    assert set(CHECKS) == set(FORMATS_BY_SUFFIX.values())


@pytest.mark.parametrize("form", CHECKS)
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.xdist_group(f"pictures {n}")) for n in zoo_names()]
)
def test_every_model_draws_at_every_level_in_every_format(
    name: str, level: Level, form: str
) -> None:
    CHECKS[form](name, level)
