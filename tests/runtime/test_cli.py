"""The command line's frame: finding commands, exit statuses, and what happens when things break."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

from rnnc.grammar.diagnostics.errors import fail
from rnnc.runtime import cli, commands
from rnnc.runtime.options import json_option
from support.processes.commands import ROOT, rnnc

RUNNER = CliRunner()


def invoke(raising: Callable[[], object], *arguments: str) -> tuple[int, str, str]:
    """Run a command line whose one command, `broken`, does what a test says."""

    class Folder(cli.CommandFolder):
        def list_commands(self, ctx: click.Context) -> list[str]:
            return ["broken"]

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            @click.command("broken")
            @json_option
            def broken(as_json: bool) -> None:
                raising()

            return broken

    result = RUNNER.invoke(Folder("rnnc"), ["broken", *arguments])
    return result.exit_code, result.stdout, result.stderr


def raising(error: BaseException) -> Callable[[], object]:
    def command() -> None:
        raise error

    return command


def test_help_lists_every_module_with_its_first_line() -> None:
    result = rnnc("--help")
    assert result.returncode == 0
    names = {path.stem for path in Path(commands.__path__[0]).glob("*.py")} - {"__init__"}
    assert {"check", "inspect", "graph", "explain", "doctor"} <= names
    text = result.stdout.decode()
    for name in names:
        help_text = cli.short_help(name)
        assert help_text
        assert len(help_text) < 75, name
        assert f"{name}  " in text
        assert help_text.split()[0] in text


def test_every_command_has_help_of_its_own() -> None:
    context = click.Context(cli.main)
    for name in cli.main.list_commands(context):
        result = RUNNER.invoke(cli.main, [name, "--help"])
        assert result.exit_code == 0, name
        assert result.stdout.startswith(f"Usage: rnnc {name}")
        command = cli.main.get_command(context, name)
        assert command is not None
        assert command.help


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["chekc"], "Did you mean `check`?"),
        (["nonsense"], "No such command `nonsense`."),
        (["--vresion"], "--version"),
        (["check"], "FILE..."),
        (["check", "--jsno", "x.rnn"], "--json"),
        (["check", "x.rnn", "--set", "hidden"], "expected name=value, got `hidden`"),
        (["check", "x.rnn", "--set", "=3"], "expected name=value, got `=3`"),
        (["check", "x.rnn", "--set", "3=3"], "expected name=value"),
        (["check", "x.rnn", "--set", "a=b"], "expected an integer or a real for `a`, got `b`"),
        (["check", "x.rnn", "--set", "a=nan"], "got `nan`"),
        (["check", "x.rnn", "--set", "a=1e999"], "got `1e999`"),
        (["check", "x.rnn", "--set", "a=" + "9" * 5000], "expected an integer or a real"),
        (["check", "x.rnn", "--set", "a=1", "--set", "a=2"], "`a` is given twice"),
        (["inspect"], "FILE"),
        (["inspect", "a.rnn", "b.rnn"], "b.rnn"),
        (["explain", "RNN99999"], "there is no diagnostic `RNN99999`"),
        ([], "Usage"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_wrong_usage_is_status_2(arguments: list[str], words: str) -> None:
    result = RUNNER.invoke(cli.main, arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not result.stdout


def test_diagnostics_are_status_1_on_standard_error() -> None:
    status, out, err = invoke(lambda: fail("RNN601", "there is no file `x`", hint="look"))
    assert (status, out) == (1, "")
    assert err == "error[RNN601]: there is no file `x`\n  hint: look\n"


def test_with_json_the_diagnostics_are_the_document() -> None:
    status, out, err = invoke(lambda: fail("RNN601", "there is no file `x`"), "--json")
    assert (status, err) == (1, "")
    assert json.loads(out)["diagnostics"][0]["code"] == "RNN601"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ZeroDivisionError("division by zero"), "RNN901"),
        (RecursionError("maximum recursion depth exceeded"), "RNN901"),
        (EOFError(), "RNN901"),
        (AssertionError(), "RNN901"),
        (MemoryError(), "RNN902"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "RNN902"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "RNN902"),
        (torch.OutOfMemoryError("out of memory on cuda:0: a call of T=9 and B=2"), "RNN902"),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might"), "RNN902"),
        (ModuleNotFoundError("No module named 'lark'", name="lark"), "RNN502"),
        (ModuleNotFoundError("No module named 'rnnc.grammar.x'", name="rnnc.grammar.x"), "RNN901"),
        (ImportError("cannot import name"), "RNN901"),
        (OSError(errno.ENOSPC, "No space left on device"), "RNN605"),
        (PermissionError(errno.EACCES, "Permission denied", "run"), "RNN605"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_no_command_expected_is_one_diagnostic(
    error: Exception, code: str, as_json: bool
) -> None:
    status, out, err = invoke(raising(error), *(["--json"] if as_json else []))
    assert status == 1
    assert "Traceback" not in out + err
    if as_json and getattr(error, "filename", True):
        assert [d["code"] for d in json.loads(out)["diagnostics"]] == [code]
    else:
        assert err.startswith(f"error[{code}]: ")


def test_an_internal_error_shows_its_traceback_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNC_DEBUG", "1")
    status, _, err = invoke(raising(ZeroDivisionError("division by zero")))
    assert status == 1
    assert "Traceback" in err
    assert "RNN901" in err


def test_an_interrupt_is_status_130() -> None:
    status, out, err = invoke(raising(KeyboardInterrupt()))
    assert (status, out) == (130, "")
    assert err.strip() == "rnnc: interrupted"


def test_control_c_is_status_130() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "rnnc", "check", "-"],
        env={**os.environ, "PYTHONPATH": str(ROOT / ".pkg")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell that has put the tests in the background has them ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    # More than the pipe holds is written when the command has begun to read, so the signal meets
    # it at work.
    assert process.stdin is not None
    process.stdin.write(b"# slow\n" * 2**15)
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert err.decode().strip() == "rnnc: interrupted"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["doctor", "--help"], ["doctor"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_one_line(arguments: list[str], unbuffered: str) -> None:
    command = [sys.executable, "-m", "rnnc", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT / ".pkg"), "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(command, env=env, stdout=full, stderr=subprocess.PIPE, check=False)
    assert result.returncode == 1
    assert result.stderr.decode().startswith("error[RNN605]: cannot write: no space left on device")
    assert b"Traceback" not in result.stderr
    assert b"Exception ignored" not in result.stderr


def test_a_closed_pipe_is_quiet() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "rnnc", "--help"]
    env = {**os.environ, "PYTHONPATH": str(ROOT / ".pkg")}
    result = subprocess.run(command, env=env, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (result.returncode, result.stderr) == (1, b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding_carries_any_name(encoding: str, tmp_path: Path) -> None:
    result = rnnc("check", tmp_path / "⊕é𝔸.rnn", env={"PYTHONIOENCODING": encoding})
    assert result.returncode == 1
    assert b"error[RNN601]" in result.stderr
    result = rnnc("check", tmp_path / "⊕é𝔸.rnn", "--json", env={"PYTHONIOENCODING": encoding})
    document = json.loads(result.stdout.decode("utf-8" if encoding == "ascii" else encoding))
    assert "⊕é𝔸.rnn" in document["diagnostics"][0]["message"]


def test_no_colour_without_a_terminal(tmp_path: Path) -> None:
    assert b"\x1b" not in rnnc("check", tmp_path / "x.rnn").stderr
