"""Large models: drawing time is linear, or the drawing is refused early."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner

from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.sources.zoo import zoo_source
from rnnc.runtime.cli import main
from rnnc.runtime.diagrams.formats import render
from rnnc.runtime.diagrams.layout import choose_layout
from rnnc.runtime.diagrams.levels.diagram_view import DiagramView, build_diagram
from rnnc.runtime.diagrams.model.depth_paths import MEASURES
from rnnc.runtime.diagrams.model.diagram import LEVELS, Level
from rnnc.runtime.diagrams.model.size_limits import MAX_BOXES, MAX_PASSING_LINES, measure_drawing
from rnnc.runtime.diagrams.text import drawing
from support.line_counts import count_lines, superlinear_functions

DRAWN = ("text", "svg", "pdf", "png", "html")
WRITTEN = ("dot", "mermaid")


def graph(name: str, layers: int) -> OperatorGraph:
    sizes = {"layers": layers, "hidden": 3}
    return analyze(zoo_source(name), parameters=sizes).require_graph()


def pictured(
    name: str, layers: int, form: str, level: Level, steps: int = 0, measure: str | None = None
) -> bytes:
    view = DiagramView(level, steps, ("shapes", "params", "depth"), measure)
    return render(graph(name, layers), zoo_source(name), form, view)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize("name", ["srnn", "dts_rnn", "dot_rnn", "birnn"])
def test_what_is_written_grows_as_the_model_does(name: str, form: str, level: Level) -> None:
    view = DiagramView(level, 0, ("shapes", "params", "depth"))
    models = [graph(name, layers) for layers in (2, 10, 20)]
    source = zoo_source(name)
    # The first one has what is made once in a process.
    _, small, large = (
        count_lines(lambda model=model: render(model, source, form, view))  # type: ignore[misc]
        for model in models
    )
    assert large.total() < 2.2 * small.total()
    assert superlinear_functions(small, large, factor=2.6) == {}


def ring(states: int) -> OperatorGraph:
    """States of which each reads the last value of the one declared after it: one long cycle."""
    lines = [f"state h_{n}: real[2]" for n in range(1, states + 1)]
    for n in range(1, states + 1):
        lines.append(f"h_{n}' = tanh(W_{n} h_{n % states + 1} + U_{n} x)")
    text = "\n".join(["input x: real[2]", *lines, "x' = ▷ h_1'"])
    return analyze(Source(text, "ring.rnn")).require_graph()


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("made", [ring, lambda n: graph("srnn", n)], ids=["ring", "srnn"])
def test_marked_paths_grow_as_the_model_does(
    made: Callable[[int], OperatorGraph], measure: str
) -> None:
    source = zoo_source("srnn")
    view = DiagramView("operator", 0, (), measure)
    _, small, large = (
        count_lines(lambda model=model: render(model, source, "dot", view))  # type: ignore[misc]
        for model in [made(2), made(20), made(40)]
    )
    assert superlinear_functions(small, large, factor=2.6) == {}


def test_work_that_grows_faster_would_be_seen() -> None:
    def each_with_each(count: int) -> None:
        for one in range(count):
            for other in range(count):
                assert one + other >= 0

    small, large = (count_lines(lambda n=n: each_with_each(n), "tests") for n in (20, 40))  # type: ignore[misc]
    assert list(superlinear_functions(small, large, factor=2.6))


@pytest.mark.parametrize("form", DRAWN)
@pytest.mark.parametrize("level", LEVELS)
def test_what_cannot_be_read_is_refused_before_it_is_laid_out(
    monkeypatch: pytest.MonkeyPatch, form: str, level: Level
) -> None:
    monkeypatch.setattr(drawing, "arrange_layers", lambda *_: pytest.fail("laid out"))
    monkeypatch.setattr(choose_layout, "compute_layout", lambda *_: pytest.fail("laid out"))
    with pytest.raises(RnnError, match=f"RNN653.*the limit is {MAX_BOXES:,}"):
        pictured("srnn", 510, form, level)


@pytest.mark.parametrize("form", DRAWN)
def test_long_lines_are_folded_with_their_operators(form: str) -> None:
    """A deep transition with shortcuts has few boxes, and lines that pass by all of them."""
    whole = build_diagram(graph("dts_rnn", 60), DiagramView("operator"))
    assert measure_drawing(whole).fits()
    folded = build_diagram(graph("dts_rnn", 60), DiagramView("primitive"))
    assert "folded to operators" in folded.captions[0]
    assert "and lines pass by a row 17,641 times" in folded.captions[0]
    assert pictured("dts_rnn", 60, form, "primitive")


def test_steps_count_too() -> None:
    assert pictured("srnn", 60, "text", "operator")
    with pytest.raises(RnnError, match=r"(?s)RNN653.*fewer steps"):
        pictured("srnn", 60, "text", "operator", steps=12)


def test_no_box_is_passed_in_a_chain() -> None:
    assert (
        measure_drawing(build_diagram(graph("srnn", 7), DiagramView("operator"))).passing_lines == 0
    )
    dense = measure_drawing(build_diagram(graph("dts_rnn", 40), DiagramView("layer")))
    assert MAX_PASSING_LINES / 2 < dense.passing_lines < MAX_PASSING_LINES


@pytest.mark.parametrize("ending", [".txt", ".svg", ".html", ".png", ".pdf"])
def test_the_command_says_what_to_do(tmp_path, ending):
    picture = tmp_path / f"p{ending}"
    command = ["graph", "zoo:srnn", "--set", "layers=1000", "-o", str(picture)]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "error[RNN653]: a drawing of `srnn` at the operator level would have 3,003 boxes" in (
        result.output
    )
    assert "`--set`" in result.output
    assert not picture.exists()
