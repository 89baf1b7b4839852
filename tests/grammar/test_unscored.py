"""`unscored`, a word behind the type of an output, and a name everywhere else."""

from __future__ import annotations

import pytest

from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.formatter import format_source
from rnnc.grammar.parser import parse
from rnnc.grammar.source import Source
from rnnc.operators.analysis.summary import summarize
from rnnc.operators.analyze import analyze
from rnnc.operators.graph.operator_graph import OperatorGraph

MIXTURE = """
model mixture(width = 3):
    input x: real[2]
    state h: real[width]
    output a, b: real[2 * width] unscored
    output c: symbol[4] at end unscored
    output d: symbol[4] unscored at end
    output e: real unscored
    output f: real
    h' = x ⊕ h
    a = A h'
    b = B h'
    c = softmax(C h')
    d = C h'
    e = sum(h')
    f = sum(h')
"""
# As a variable of each kind, a local, a parameter, an operand, a template's argument, and in `for`.
NAMED = """
operator unscored_1(unscored: real[m], rate = 1) = rate * tanh(W unscored)

model named(unscored = 2):
    input x: real[unscored]
    state y: real[unscored]
    output z: real[unscored] unscored
    operator step = unscored_1(rate = 2)
    for l in 1..unscored:
        state unscored_{l+1}: real[unscored]
        unscored_{l+1}' = step(x)
    y' = unscored_2 + unscored_3[t-2]
    z = y'
"""


def graph(text: str) -> OperatorGraph:
    return analyze(Source(text, "spec.rnn")).require_graph()


def test_the_graph_knows_which_outputs_are_not_scored():
    outputs = {o.name: (o.unscored, o.at_end) for o in graph(MIXTURE).outputs}
    assert outputs == {
        "a": (True, False),
        "b": (True, False),
        "c": (True, True),
        "d": (True, True),
        "e": (True, False),
        "f": (False, False),
    }


def test_graph_and_summary_say_so():
    operator_graph = graph(MIXTURE)
    text = operator_graph.to_text()
    assert "output a: real[6] unscored = " in text
    assert "output c: symbol[4] at end unscored = " in text
    assert "output f: real = " in text
    outputs = {o["name"]: o for o in summarize(operator_graph)["outputs"]}
    assert outputs["c"] == {"name": "c", "type": "symbol[4]", "at_end": True, "unscored": True}
    assert outputs["f"] == {"name": "f", "type": "real"}


def test_what_has_no_loss_of_its_own_may_be_a_distribution():
    """RNN311 warns of a softmax before the loss that applies its own."""
    codes = [d.code for d in analyze(Source(MIXTURE, "spec.rnn")).diagnostics]
    assert codes == []
    codes = [d.code for d in analyze(Source(MIXTURE.replace("end unscored", "end"))).diagnostics]
    assert codes == ["RNN311"]


@pytest.mark.parametrize("text", [MIXTURE, NAMED])
def test_formatting_keeps_it(text):
    squeezed = text.replace("] unscored", "]   unscored").replace(": ", ":")
    for ascii_only in (False, True):
        neat = format_source(Source(squeezed, "spec.rnn"), ascii_only=ascii_only)
        assert graph(neat).to_text() == graph(text).to_text()
    assert format_source(Source(squeezed)) == format_source(Source(text))


def test_elsewhere_it_is_a_name():
    names = [state.name for state in graph(NAMED).states]
    assert names == ["y", "unscored_2", "unscored_3"]
    plain = "input unscored: real[2]\nstate h: real[2]\nh' = unscored ⊕ h\nunscored' = ▷ h'\n"
    assert [i.name for i in graph(plain).inputs] == ["unscored"]
    state = (
        "input x: real[2]\nstate unscored: real\nunscored' = sum(x) + unscored\nx' = ▷ unscored'"
    )
    assert [s.name for s in graph(state).states] == ["unscored"]
    local = (
        "input x: real[2]\noutput y: real[2]\nparam unscored_1: vector\nunscored = x + unscored_1"
    )
    assert graph(f"{local}\ny = unscored\n").parameters[0].name == "unscored_1"
    report = Report()
    used = parse(
        Source("use unscored from unscored\nfor unscored in 1..2:\n    a = unscored"), report
    )
    assert not report.has_errors
    assert used.uses[0].names[0].name == used.uses[0].module.name == "unscored"
