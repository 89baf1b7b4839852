"""Diagnostics as values and as text: columns, wide characters, colors, several files, order."""

from __future__ import annotations

import json

import pytest

from rnnc.grammar.diagnostics.diagnostic import Diagnostic, Label
from rnnc.grammar.diagnostics.errors import RnnError, fail
from rnnc.grammar.diagnostics.render import ansi_style, display_width, render_json, render_text
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.source import Source, Span

TEXT = "input x: real[3]\nh' = tanh(W h + U y + b)\n"


def at(text: str, word: str) -> Span:
    source = Source(text, "a.rnn")
    start = source.text.index(word)
    return Span(source, start, start + len(word))


def caret_columns(rendered: str) -> tuple[str, str]:
    lines = rendered.split("\n")
    return lines[1], lines[2]


def test_the_form_of_a_diagnostic():
    span = at(TEXT, "y")
    diagnostic = Diagnostic(
        "RNN203", "`y` is an output", label=Label(span, "read here"), hint="a\nb"
    )
    assert render_text(diagnostic) == (
        "a.rnn:2:19: error[RNN203]: `y` is an output\n"
        "  2 | h' = tanh(W h + U y + b)\n"
        "    |                   ^ read here\n"
        "  hint: a\n"
        "        b"
    )


@pytest.mark.parametrize(
    "before",
    ["h", "ψσ", "界界", "h\u0303", "\t", "ｈ", "e\u0301\u0302", "⊕▷σ", "🙂", "\u200b", "\x07"],
)
def test_the_caret_stands_below_what_it_marks(before):
    text = f"{before} = ! q"
    line, caret = caret_columns(render_text(Diagnostic("RNN101", "m", label=Label(at(text, "!")))))
    assert display_width(line[: line.index("!")]) == caret.index("^")


def test_a_wide_mark_is_as_wide_as_what_it_marks():
    _, caret = caret_columns(
        render_text(Diagnostic("RNN101", "m", label=Label(at("界界 = 1", "界界"))))
    )
    assert caret.count("^") == 4


def test_a_long_line_is_cut_around_the_place():
    text = "z = " + "a + " * 500 + "! + " + "a + " * 500
    line, caret = caret_columns(render_text(Diagnostic("RNN101", "m", label=Label(at(text, "!")))))
    assert line[caret.index("^")] == "!"
    assert len(line) < 200


def test_control_characters_do_not_reach_the_terminal():
    text = render_text(Diagnostic("RNN101", "m", label=Label(at("z = \x1b[31m !", "!"))))
    assert "\x1b" not in text


def test_a_second_place_in_another_file_is_named():
    other = Span(Source("operator f(x) = x\n", "lib.rnn"), 9, 13)
    diagnostic = Diagnostic(
        "RNN207", "m", label=Label(at(TEXT, "y")), related=(Label(other, "here"),)
    )
    assert "in lib.rnn" in render_text(diagnostic)


def test_colors_add_nothing_but_colors():
    diagnostic = Diagnostic("RNN203", "m", label=Label(at(TEXT, "y"), "here"), hint="do")
    colored = render_text(diagnostic, ansi_style)
    assert "\x1b[" in colored
    for code in ("\x1b[1;31m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[0m"):
        colored = colored.replace(code, "")
    assert colored == render_text(diagnostic)


def test_json_counts_from_one_in_characters():
    diagnostic = Diagnostic("RNN203", "m", label=Label(at("界 = y", "y")), hint="do")
    document = json.loads(json.dumps(render_json([diagnostic])))
    assert document == {
        "diagnostics": [
            {
                "code": "RNN203", "severity": "error", "message": "m", "hint": "do",
                "file": "a.rnn", "line": 1, "column": 5, "end_line": 1, "end_column": 6,
            }
        ]
    }  # fmt: skip


def test_a_report_is_in_the_order_of_the_text_and_says_one_thing_once():
    report = Report()
    source = Source(TEXT, "a.rnn")
    report.error("RNN201", "second", Span(source, 20, 21))
    report.warning("RNN217", "first", Span(source, 3, 4))
    report.error("RNN201", "second, met again in a loop", Span(source, 20, 21))
    assert [d.message for d in report] == ["first", "second"]
    with pytest.raises(RnnError) as caught:
        report.raise_if_errors()
    assert len(caught.value.diagnostics) == 2


def test_warnings_alone_do_not_fail():
    report = Report()
    report.warning("RNN217", "m", at(TEXT, "y"))
    report.raise_if_errors()


def test_a_mistake_without_a_place_names_its_file():
    with pytest.raises(RnnError, match=r"^error\[RNN601\]: gone$"):
        fail("RNN601", "gone")
