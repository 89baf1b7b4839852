"""Mutations of one token: no traceback, few messages, and the first one at the mutation."""

from __future__ import annotations

from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from support.fuzzing.token_mutations import check_mutation, mutate

COUNT = 80


def test_single_token_mutations():
    outcomes = [check_mutation(mutate(seed)) for seed in range(COUNT)]
    noisy = [o.mutation for o in outcomes if o.diagnostics > 2]
    assert noisy == []
    reported = [o for o in outcomes if o.diagnostics]
    assert sum(o.on_line for o in reported) >= 0.9 * len(reported)
    assert len(reported) >= 0.8 * COUNT


def test_mutations_change_the_text_on_the_line_that_they_name():
    for seed in range(30):
        mutation = mutate(seed)
        before = mutation.original.text.split("\n")[mutation.line - 1]
        if mutation.before != mutation.after:
            assert mutation.text.split("\n")[mutation.line - 1] != before


def test_a_line_of_an_operator_that_cannot_be_read_says_nothing_of_time():
    text = (
        "operator x ⊕ h:\n    z = tanh(W h))\n    z + x\n"
        "input x: real[2]\nstate g: real[2]\noutput y: real[2]\n"
        "g[t] = x ⊕ g[t+1]\ny = g[t+1]\n"
    )
    diagnostics = analyze(Source(text)).diagnostics
    assert [d.code for d in diagnostics if d.severity == "error"] == ["RNN103"]
