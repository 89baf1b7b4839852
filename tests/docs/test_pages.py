"""The pages that are read from top to bottom: every block is run, in order."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from rnnc.grammar.source import Source
from rnnc.operators.analyze import check
from rnnc.runtime.cli import main
from support.pages.fenced_blocks import FencedBlock, fenced_blocks
from support.processes.commands import ROOT
from support.training.piano_rolls import small_data

DOCS = ROOT / "docs"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RNNC_DATA", str(small_data(tmp_path / "data")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def output_of(command: str) -> str:
    """What a command prints, warnings and errors included; trainings are cut short."""
    command = re.sub(r"--epochs \d+", "--epochs 1", command)
    program, *arguments = shlex.split(command)
    assert program == "rnnc"
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code in {0, 1}, result.output
    return result.output


def run_console(block: FencedBlock) -> None:
    """Run the commands of a block and compare what is shown of their output; `…` is anything."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        printed = output_of(command)
        if expected.strip() != "…":
            assert printed == expected, command


def run_page(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    for block in fenced_blocks(page):
        match block.language:
            case "rnn":
                Path(block.info).write_text(block.text, encoding="utf-8")
            case "console":
                run_console(block)
            case "python":
                capsys.readouterr()
                exec(compile(block.text, f"{page.name}:{block.line}", "exec"), names)
            case "text":
                assert capsys.readouterr().out == block.text
            case other:
                raise AssertionError(other)


@pytest.mark.parametrize("name", ["tutorial.md", "from-torch-nn.md", "first-steps.md", "verify.md"])
def test_a_page_runs_from_top_to_bottom(name, folder, capsys):
    run_page(DOCS / name, capsys)


NEXT_SYMBOL = "from-torch-nn.md"


def on_noise(change: tuple[str, str] = ("", "")) -> list[float]:
    """The last losses of each training on a page, mean by mean, with uniform random symbols."""
    means: list[float] = []
    names: dict[str, object] = {}
    for block in fenced_blocks(DOCS / NEXT_SYMBOL):
        if block.language == "rnn":
            Path(block.info).write_text(block.text, encoding="utf-8")
        if block.language != "python":
            continue
        noise = "text = torch.randint(12, (24000, 2), generator=torch.Generator().manual_seed(1))"
        code = re.sub(r"^text = .*$", noise, block.text, flags=re.MULTILINE)
        torch.manual_seed(0)
        exec(compile(code.replace(*change), f"{NEXT_SYMBOL}:{block.line}", "exec"), names)
        if ".backward()" in code:
            losses = names["losses"]
            assert isinstance(losses, list)
            means.append(sum(losses[-200:]) / 200)
    return means


def test_what_cannot_be_learned_is_not_learned(folder, capsys):
    """The loss of every documented loop stays at the entropy of the symbols."""
    means = on_noise()
    assert len(means) == 2
    for mean in means:
        assert abs(mean - math.log(12)) < 0.04


@pytest.mark.filterwarnings("ignore:the target of x' is the very tensor")
def test_a_loop_that_teaches_to_copy_would_be_seen(folder, capsys):
    right = "nll, carry = model.nll(piece, carry)"
    first, second = on_noise((right, f"{right}; nll = model.loss(model(piece)[0], piece)"))
    assert first < 0.5 * math.log(12)
    assert abs(second - math.log(12)) < 0.1


def test_every_spec_of_the_pages_but_the_slips_is_clean():
    for name in ("tutorial.md", "from-torch-nn.md"):
        for block in fenced_blocks(DOCS / name):
            if block.language == "rnn" and block.info != "slip.rnn" and "use " not in block.text:
                assert check(Source(block.text, block.info)) == ()


def test_a_wrong_output_would_be_seen(folder):
    Path("a.rnn").write_text("input x: real[2]\nstate h: real[2]\nh' = x ⊕ h\nx' = ▷ h'\n")
    with pytest.raises(AssertionError):
        run_console(FencedBlock("console", "", "$ rnnc check a.rnn\nnothing\n", 1))


def test_first_steps_mends_each_slip_from_its_message():
    """Each version has fewer messages, the last has none, and five different ones are met."""
    specs = [b for b in fenced_blocks(DOCS / "first-steps.md") if b.language == "rnn"]
    codes = [[d.code for d in check(Source(spec.text, "spec.rnn"))] for spec in specs]
    counts = [len(found) for found in codes]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0 < counts[-2]
    assert len({code for found in codes for code in found}) >= 5
