"""What a notebook shows of a model, and what `%%rnn` does with a cell."""

from __future__ import annotations

from typing import Any

import pytest

import rnnc
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from rnnc.runtime.notebook import load_ipython_extension
from support.processes.blocked_imports import run_without

CELL = """\
model small(hidden = 5):
    input x: binary[3]
    state h: real[hidden]
    h' = x ⊕ h
    x' = ▷ h'
"""


class Shell:
    """As much of IPython as the extension touches."""

    def __init__(self) -> None:
        self.user_ns: dict[str, Any] = {}
        self.magics: dict[tuple[str, str], Any] = {}

    def register_magic_function(
        self, func: Any, magic_kind: str = "line", magic_name: str | None = None
    ) -> None:
        self.magics[magic_kind, magic_name or func.__name__] = func


@pytest.fixture
def shell() -> Shell:
    shell = Shell()
    load_ipython_extension(shell)
    return shell


def test_a_model_displays_as_svg_mermaid_and_text() -> None:
    bundle = rnnc.compile(CELL)._repr_mimebundle_()
    assert bundle["image/svg+xml"].startswith("<svg")
    assert bundle["text/vnd.mermaid"].startswith("flowchart")
    assert "⟨h 5⟩" in bundle["text/plain"]


def test_an_analysis_displays_its_graph_or_its_mistakes(shell: Shell) -> None:
    bundle = analyze(Source(CELL))._repr_mimebundle_()  # type: ignore[attr-defined]
    assert set(bundle) == {"image/svg+xml", "text/vnd.mermaid", "text/plain"}
    broken = analyze(Source(CELL.replace("▷ h'", "▷ k")))
    bundle = broken._repr_mimebundle_()  # type: ignore[attr-defined]
    assert "RNN201" in bundle["text/plain"]


def test_the_extension_is_found_on_the_package() -> None:
    assert rnnc.load_ipython_extension is load_ipython_extension


def test_a_cell_becomes_a_model(shell: Shell) -> None:
    model = shell.magics["cell", "rnn"]("cell hidden=7", CELL)
    assert shell.user_ns["cell"] is model
    assert dict(model.named_parameters())["plus.W"].shape == (7, 7)


@pytest.mark.parametrize(
    ("line", "cell", "words"),
    [
        ("net", CELL.replace("▷ h'", "▷ k"), "RNN201"),
        ("", CELL, "expected a name"),
        ("1net", CELL, "expected a name"),
        ("net hidden", CELL, "expected parameter=value"),
        ("net width=3", CELL, "RNN216"),
        ("net", "", "RNN"),
    ],
)
def test_what_is_wrong_is_printed_and_nothing_bound(
    shell: Shell, capsys: pytest.CaptureFixture[str], line: str, cell: str, words: str
) -> None:
    assert shell.magics["cell", "rnn"](line, cell) is None
    assert words in capsys.readouterr().err
    assert shell.user_ns == {}


def test_without_pygraphviz_text_and_mermaid_are_left() -> None:
    program = f"""
import rnnc
bundle = rnnc.compile({CELL!r})._repr_mimebundle_()
assert set(bundle) == {{"text/plain", "text/vnd.mermaid"}}, set(bundle)
"""
    result = run_without(["pygraphviz"], program)
    assert result.returncode == 0, result.stderr.decode()
