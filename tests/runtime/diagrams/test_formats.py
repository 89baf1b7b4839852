"""Each format is valid for the programs that read it, for any text in labels."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from xml.etree import ElementTree

import pygraphviz
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnc.runtime.diagrams.model.diagram import LEVELS, Box, Cluster, Diagram, Edge, Level
from rnnc.runtime.diagrams.model.labels import name_label, plain_label, to_text
from rnnc.runtime.diagrams.render.dot import to_dot
from rnnc.runtime.diagrams.render.mermaid import to_mermaid
from rnnc.runtime.diagrams.render.palette import BOX_STYLES
from rnnc.runtime.diagrams.render.pdf_png import to_pdf_or_png
from rnnc.runtime.diagrams.render.svg import to_svg
from rnnc.runtime.diagrams.text.drawing import display_width, draw_text
from support.diagrams import DELAYS, diagram_edges, draw_diagram, graph_of, parse_edges, zoo_graph

SVG = "{http://www.w3.org/2000/svg}"
PAPER = ["rnn", "dt_rnn", "dts_rnn", "do_rnn", "dot_rnn", "dots_rnn", "srnn"]
NASTY = [
    "<b>x</b>",
    "</svg><script>alert(1)</script>",
    '"; evil -> node; "',
    "a\nb\tc\x00\x1b[31m\u2028",
    "]]>&amp;&lt;",
    'end; click a href "javascript:x"',
    "\\N\\G\\",
    "{}|<>`%%{init}%%",
    "漢字 العربية 🎹 e\u0301",
    "\ud800",
]


def nasty(words: str) -> Diagram:
    """A diagram with hostile text in every field."""
    box = Box("n0", "input", plain_label(words), (plain_label(words),), details=((words, words),))
    other = replace(box, key="n1", role="unit", cluster="a0")
    cluster = Cluster("a0", name_label(words), details=((words, words),))
    edge = Edge("n0", "n1", label=words)
    return Diagram(words, "layer", (box, other), (cluster,), (edge,), (words,))


@pytest.mark.parametrize("level", LEVELS)
def test_dot_keeps_delays_of_both_signs(level: Level) -> None:
    diagram = draw_diagram(graph_of(DELAYS), level)
    source = to_dot(diagram)
    assert parse_edges(source) == diagram_edges(diagram)
    assert {edge.delay for edge in diagram.edges} >= {-1, 0, 1, 2, 3}
    drawing = pygraphviz.AGraph(string=source)
    subgraphs = {s.name for s in drawing.subgraphs()}
    assert subgraphs == {f"cluster_{c.key}" for c in diagram.clusters if not c.parent}
    planted = source.replace("delay=1", "delay=2", 1)
    assert parse_edges(planted) != diagram_edges(diagram)


def test_subscripts_are_real() -> None:
    root = ElementTree.fromstring(to_svg(draw_diagram(zoo_graph("dts_rnn"), "layer")))
    lowered = [t.text for t in root.iter(f"{SVG}tspan") if t.get("font-size") == "72%"]
    assert "1" in lowered
    assert "2" in lowered


def test_one_legend_names_each_kind_once() -> None:
    diagram = draw_diagram(zoo_graph("bilstm"), "layer")
    root = ElementTree.fromstring(to_svg(diagram))
    (legend,) = [g for g in root.iter(f"{SVG}g") if g.get("class") == "legend"]
    words = [t.text for t in legend.iter(f"{SVG}text")]
    assert len(words) == len(set(words))
    assert {"input", "state", "output"} <= set(words)
    assert any("next" in str(w) for w in words)
    assert any("before" in str(w) for w in words)


@pytest.mark.parametrize("words", NASTY)
def test_no_text_breaks_a_format(words: str) -> None:
    diagram = nasty(words)
    picture = to_svg(diagram)
    root = ElementTree.fromstring(picture)
    assert not [
        e
        for e in root.iter()
        if e.tag
        not in {
            SVG + tag
            for tag in ("svg", "title", "style", "rect", "g", "path", "polygon", "text", "tspan")
        }
    ]
    source = to_dot(diagram)
    assert parse_edges(source) == Counter({("n0", "n1", 0): 1})
    chart = to_mermaid(diagram)
    assert [line for line in chart.splitlines() if "-->" in line] != []
    for line in chart.splitlines():
        assert re.fullmatch(
            r'flowchart LR|  %% [^{}]*| *n\d[(\["]+[^"<>]*(<br/>[^"<>]*)*[)\]"]+'
            r'|  subgraph a0\["[^"<>]*"\]|  end|  n0 -->\|"[^"<>|]*"\| n1'
            r"|  class(Def)? [\w,#.: -]+",
            line,
        ), line
    assert len(draw_text(diagram).encode("utf-8").splitlines()) > 2
    assert "\x1b" not in draw_text(diagram)
    assert "\x00" not in draw_text(diagram)
    to_pdf_or_png(diagram, "pdf")


@given(st.text(max_size=30))
def test_any_text_is_escaped(words: str) -> None:
    diagram = nasty(words)
    assert parse_edges(to_dot(diagram)) == Counter({("n0", "n1", 0): 1})
    assert draw_text(diagram, ascii_only=True).isascii()
    assert len(to_mermaid(diagram).splitlines()) == len(to_mermaid(nasty("x")).splitlines())


@pytest.mark.parametrize("model", PAPER)
@pytest.mark.parametrize("level", ["operator", "layer"])
def test_models_of_the_paper_fit_a_hundred_columns(model: str, level: Level) -> None:
    for ascii_only in (False, True):
        text = draw_text(draw_diagram(zoo_graph(model), level), ascii_only=ascii_only)
        assert max(map(display_width, text.splitlines())) <= 100
        assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_the_text_drawing_of_a_conventional_network() -> None:
    assert draw_text(draw_diagram(zoo_graph("rnn"), "operator")) == (
        """\
rnn · operator level

 ┌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┐
 ▼                ╎
z⁻¹  x 88 binary  ╎
 └╌╌┐ ┌───┘       ╎
    ▼ ▼           ╎
    (⊕)           ╎
     ▼            ╎
  ⟨h 200⟩         ╎
     │  └╌╌╌╌╌╌╌╌╌┘
     ▼
    (▷)
     ▼
x′ 88 binary
"""
    )


@pytest.mark.parametrize("model", ["dts_rnn", "srnn"])
def test_unrolled_text_names_the_steps(model: str) -> None:
    text = draw_text(draw_diagram(zoo_graph(model), "operator", steps=3))
    assert "x[t-1]" in text
    assert "x[t+1]" in text


def luminance(colour: str) -> float:
    r, g, b = ((int(colour[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_ink_is_readable_on_every_fill_in_grey() -> None:
    for look in BOX_STYLES.values():
        light = (luminance(look.fill) + 0.05) / (luminance("#1b1b1b") + 0.05)
        assert light > 7, look
        assert luminance(look.fill) - luminance(look.line) > 0.2, look


def test_names_are_set_as_mathematics() -> None:
    assert to_text(name_label("W_1")) == to_text(name_label("W1")) == "W₁"
    assert to_text(name_label("⊕_2")) == "⊕₂"
    assert to_text(name_label("x'")) == "x′"
    assert to_text(name_label("Wi"), ascii_only=True) == "W_i"
    assert to_text(name_label("hidden")) == "hidden"
