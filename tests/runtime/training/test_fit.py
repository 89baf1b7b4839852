"""Incompatible specs are refused with a reason; the data binds open parameters."""

from __future__ import annotations

import pytest

from rnnc.compiler.api import compile_program
from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.grammar.source import Source
from rnnc.operators.graph.types import Type
from rnnc.runtime.tasks import find_task
from rnnc.runtime.tasks.task import Problem
from rnnc.runtime.training.session import start_training
from rnnc.runtime.training.settings.training_config import TrainingConfig
from rnnc.runtime.training.size_binding import bind_program
from rnnc.runtime.training.task_compatibility import check_compatibility
from support.training.piano_rolls import small_data
from support.training.small_runs import CHORALES, InterruptAfter

END = "output y: real at end\nh' = x ⊕ h\ny = ▷ h'\n"


@pytest.mark.parametrize(
    ("task", "spec", "words"),
    [
        (
            "jsb",
            CHORALES.replace("88", "64"),
            "gives `binary[88]`, but `small` takes `x: binary[64",
        ),
        ("jsb", CHORALES.replace("binary", "real"), "takes `x: real[88]`"),
        ("jsb", CHORALES.replace("binary", "symbol"), "takes `x: symbol[88]`"),
        (
            "jsb",
            CHORALES.replace("x' = ▷ h'", "y = ▷ h'\noutput y: binary[88]"),
            "scores a prediction of its input, but `small` gives an output at every step, `y`",
        ),
        (
            "jsb",
            CHORALES + "output y: real\ny = dot(h', h')\n",
            "scores one output, but `small` has 2",
        ),
        (
            "jsb",
            CHORALES + "input c: real[2]\n".replace("c", "c"),
            "has one input, but `small` has 2 (`x`, `c`)",
        ),
        ("adding", CHORALES, "gives `real[2]`, but `small` takes `x: binary[88]`"),
        (
            "adding",
            "input x: real[2]\nstate h: real[3]\n" + END.replace(" at end", ""),
            "scores an output at the end, but `small` gives an output at every step, `y`",
        ),
        (
            "adding",
            "input x: real[2]\nstate h: real[3]\n" + END.replace("real at", "real[2] at"),
            "scores `real`, but `small` gives `y: real[2]`",
        ),
        (
            "adding",
            "input x: real[2]\nstate h: real[3]\nloss sum(x' - x)\n" + END,
            "gives no next inputs, but `small` reads `x'` in a `loss` line",
        ),
        (
            "jsb",
            CHORALES.replace("x' = ▷ h'", "y = ▷ h'\noutput y: binary[88] unscored"),
            "scores one output, but `small` has 0 (none)",
        ),
    ],
)
def test_a_spec_that_does_not_fit_is_told_with_both_sides(task, spec, words, tmp_path):
    chosen_task = find_task(task)
    with pytest.raises(RnnError) as caught:
        start_training(
            Source(spec, "small.rnn"),
            chosen_task,
            chosen_task.resolve_options({}),
            TrainingConfig(),
            model=None,
            parameters={},
            data=small_data(tmp_path),
            folder=tmp_path / "run",
            interrupt_handler=InterruptAfter(),
        )
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "RNN620"
    assert words in diagnostic.message
    assert chosen_task.needs in diagnostic.hint
    assert not (tmp_path / "run").exists()


def test_a_spec_that_fits_passes():
    task = find_task("jsb")
    keys = Type("binary", 88)
    problem = Problem(keys, keys, "next input", load_split=lambda s: [], baseline=lambda s: 0.0)
    program = bind_program(Source(CHORALES, "small.rnn"), None, {}, {})
    check_compatibility(task, problem, compile_program(program).graph)


OPEN = "model m(keys, hidden, deep = 2):\n" + "".join(
    f"    {line}\n" for line in CHORALES.replace("88", "keys").replace("6]", "hidden]").split("\n")
)


def test_the_data_bind_what_is_left_open_and_nothing_else():
    source = Source(OPEN, "m.rnn")
    offered = {"keys": 88, "deep": 7, "unknown": 3}
    assert dict(bind_program(source, None, {"hidden": 4}, offered).parameters) == {
        "keys": 88,
        "hidden": 4,
    }
    bound = bind_program(source, None, {"hidden": 4, "keys": 12}, offered)
    assert dict(bound.parameters) == {"keys": 12, "hidden": 4}


def test_what_nobody_binds_is_asked_for():
    with pytest.raises(RnnError, match=r"RNN211.*`hidden` has no value"):
        bind_program(Source(OPEN, "m.rnn"), None, {}, {"keys": 88})


def test_a_broken_spec_is_reported_before_anything_is_made(tmp_path):
    with pytest.raises(RnnError, match="RNN201"):
        bind_program(Source(CHORALES.replace("x ⊕ h", "tanh(foo)"), "m.rnn"), None, {}, {})
