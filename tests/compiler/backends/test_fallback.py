"""Check the fallback when kernels no longer build: slower, with one warning, or an error."""

from __future__ import annotations

import copy
import multiprocessing.reduction
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import rnnc
from rnnc.compiler.backends import warn_once
from rnnc.compiler.backends.cpu import backend as backend_module
from rnnc.compiler.backends.cpu.specialize import compiled_program as program_module
from rnnc.compiler.backends.cpu.toolchain import build_library as build_module
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.runtime.cli import main
from rnnc.runtime.commands.train import _slower_backend_lines
from support.comparison.assertions import assert_close, parameter_gradients

MODEL = "input x: real[3]\nstate h: real[5]\nh' = x ⊕ h\noutput y: real[2]\ny = V h'\n"
NO_ROOM = 'echo "model.o: No space left on device" >&2; exit 1'


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is loaded, cached or said yet, and the machine is fine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build_module, "_loaded", {})
    monkeypatch.setattr(build_module, "_timed_out", {})
    monkeypatch.setattr(warn_once, "_warned", set())
    assert backend_module.compiler_failure() == ""


def breaks(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str = NO_ROOM) -> None:
    """From here on the compiler answers, and compiles nothing."""
    path = folder / "cc"
    version = 'if [ "$1" = --version ]; then echo fake 1; exit 0; fi\n'
    path.write_text(f"#!/bin/sh\n{version}{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("CC", str(path))


def model(**said: Any) -> CompiledRNN:
    torch.manual_seed(0)
    return rnnc.compile(MODEL, **said)


def step(net: CompiledRNN) -> dict[str, torch.Tensor]:
    net.zero_grad()
    x = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(1))
    net(x)[0].square().sum().backward()
    return parameter_gradients(net)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (NO_ROOM, "No space left|no space left"),
        ('echo "cc1: error: killed" >&2; exit 4', "cc1: error: killed"),
        ("sleep 600", "did not finish in 1 s"),
    ],
    ids=["full disk", "failing", "hanging"],
)
def test_auto_goes_on_and_says_so_once(
    script: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    net, expected = model(), step(model(backend="reference"))
    assert net.backend == "cpu"
    breaks(tmp_path, monkeypatch, script)
    monkeypatch.setattr(
        program_module, "build_library", partial(build_module.build_library, timeout=1)
    )
    for _ in range(2):
        assert_close(step(net), expected, 1e-5)
        assert_close(step(model()), expected, 1e-5)
    messages = [line for line in capfd.readouterr().err.splitlines() if "on to backend" in line]
    assert len(messages) == 1
    assert any(part in messages[0] for part in said.split("|"))
    assert net.backend == "aten"


def test_a_compiler_that_has_gone_is_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    net, expected = model(), step(model(backend="reference"))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert_close(step(net), expected, 1e-5)
    assert "on to backend `aten`, which is slower: no C compiler" in capfd.readouterr().err


@pytest.mark.parametrize("said", [{"backend": "cpu"}, {"require": "fused"}], ids=str)
def test_what_is_asked_for_is_not_replaced(
    said: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = model(**said)
    breaks(tmp_path, monkeypatch)
    with pytest.raises(rnnc.RnnError, match="RNN503"):
        step(net)


def test_what_is_compiled_already_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = model()
    x = torch.randn(4, 2, 3)
    y, _ = net(x)
    breaks(tmp_path, monkeypatch)
    with torch.no_grad():
        replayed_y, _ = net(x)
    assert net.backend == "aten"
    assert_close(replayed_y, y.detach(), 1e-5)
    y.sum().backward()
    assert_close(step(net), step(model(backend="reference")), 1e-5)


def test_copies_have_a_guard_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, expected = model(), step(model(backend="reference"))
    pickler = multiprocessing.reduction.ForkingPickler
    twins = [copy.deepcopy(net), pickler.loads(pickler.dumps(net))]
    breaks(tmp_path, monkeypatch)
    for twin in twins:
        assert_close(step(twin), expected, 1e-5)


def test_without_a_compiler_commands_say_what_runs_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "compiler_failure", lambda: "no C compiler: there is none")
    (tmp_path / "m.rnn").write_text(MODEL)
    messages = CliRunner().invoke(main, ["compile", str(tmp_path / "m.rnn")]).output
    assert "backend aten\nnot cpu: no C compiler: there is none\n" in messages
    doctor = CliRunner().invoke(main, ["doctor"]).output
    assert "missing  backend cpu: no C compiler: there is none" in doctor
    (line,) = _slower_backend_lines(SimpleNamespace(model=model()))  # type: ignore[arg-type]
    assert line == "backend aten, which is slower, not cpu: no C compiler: there is none"
