"""The pages of the diagnostics: run each, compare its output, check its corrected version."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from rnnc.grammar.diagnostics.codes import CODES
from rnnc.grammar.diagnostics.render import render_text
from rnnc.grammar.source import Source
from rnnc.operators.analyze import check
from rnnc.runtime.commands.explain import read_page
from support.processes.commands import ROOT, rnnc

PAGES = ROOT / "docs" / "errors"
OF_SPECS = [code for code in CODES if code[3] in "1234"]
OTHERS = [code for code in CODES if code not in OF_SPECS]


def text_of(code: str) -> str:
    return (PAGES / f"{code}.md").read_text(encoding="utf-8")


def blocks(code: str, fence: str) -> list[str]:
    return re.findall(rf"^```{fence}\n(.*?)^```$", text_of(code), re.DOTALL | re.MULTILINE)


def options(command: str) -> dict[str, Any]:
    """Return the options of a command line `rnnc check spec.rnn --set n=3 --model m`."""
    words = shlex.split(command)
    bindings: dict[str, Any] = {"parameters": {}, "model": None}
    for option, value in zip(words[4::2], words[5::2], strict=True):
        if option == "--model":
            bindings["model"] = value
        else:
            name, _, number = value.partition("=")
            bindings["parameters"][name] = int(number)
    return bindings


def output(spec: str, command: str) -> str:
    diagnostics = check(Source(spec, "spec.rnn"), **options(command))
    return "\n\n".join(map(render_text, diagnostics)) + "\n"


def test_there_is_a_page_for_every_code_and_no_other():
    pages = {path.stem for path in PAGES.glob("RNN*.md")}
    assert pages == set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_the_title_is_what_the_code_means(code):
    assert text_of(code).startswith(f"# {code}: {CODES[code]}\n\n")


@pytest.mark.parametrize("code", OF_SPECS)
def test_the_example_fails_as_the_page_says(code):
    [spec] = blocks(code, "rnn fails")
    command, _, expected = blocks(code, "console")[0].partition("\n")
    assert output(spec, command) == expected
    assert [d.code for d in check(Source(spec, "spec.rnn"), **options(command))] == [code]


@pytest.mark.parametrize("code", OF_SPECS)
def test_the_mended_version_is_clean(code):
    [spec] = blocks(code, "rnn")
    commands = blocks(code, "console")[1:] or ["$ rnnc check spec.rnn"]
    assert check(Source(spec, "spec.rnn"), **options(commands[0])) == ()


@pytest.mark.parametrize("code", OTHERS)
def test_the_page_of_a_command_shows_one(code):
    [command] = blocks(code, "console")
    assert command.startswith("$ rnnc ")
    assert (ROOT / "runtime" / "commands" / f"{command.split()[2]}.py").exists()


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_produced_somewhere(code):
    sources = [p for f in ("grammar", "operators", "compiler", "runtime") for p in find(ROOT / f)]
    assert any(f'"{code}"' in text for text in sources)


def find(folder: Path) -> list[str]:
    return [p.read_text(encoding="utf-8") for p in folder.rglob("*.py") if p.name != "codes.py"]


def test_explain_prints_the_page_that_ships():
    assert read_page("RNN203") == text_of("RNN203").rstrip("\n")
    result = rnnc("explain", "rnn203")
    assert (result.returncode, result.stdout.decode()) == (0, text_of("RNN203"))


def test_a_wrong_output_on_a_page_would_be_seen():
    [spec] = blocks("RNN203", "rnn fails")
    command, _, expected = blocks("RNN203", "console")[0].partition("\n")
    assert output(spec, command) == expected != output("\n" + spec, command)
