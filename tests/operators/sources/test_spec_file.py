"""The argument FILE: every way to be no spec gets one clear diagnostic."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnc.grammar.diagnostics.diagnostic import Diagnostic
from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.grammar.diagnostics.render import render_text
from rnnc.operators.analyze import check
from rnnc.operators.sources.spec_file import MAX_SPEC_BYTES, decode_spec, read_spec
from support.processes.commands import rnnc


def diagnostic(argument: str | Path) -> Diagnostic:
    with pytest.raises(RnnError) as caught:
        read_spec(str(argument))
    (problem,) = caught.value.diagnostics
    return problem


def test_a_file_keeps_its_name_and_path(tmp_path: Path) -> None:
    path = tmp_path / "a.rnn"
    path.write_bytes("\ufeffinput x: real\r\n".encode())
    source = read_spec(str(path))
    assert (source.text, source.name, source.path) == ("input x: real\n", str(path), path)


def test_a_missing_file_names_its_neighbor(tmp_path: Path) -> None:
    (tmp_path / "conventional.rnn").touch()
    (tmp_path / "conventionel.txt").touch()
    problem = diagnostic(tmp_path / "conventionel.rnn")
    assert problem.code == "RNN601"
    assert problem.hint == f"did you mean `{tmp_path / 'conventional.rnn'}`?"
    assert diagnostic(tmp_path / "zzz.rnn").hint == ""


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    problem = diagnostic(tmp_path / "nowhere" / "a.rnn")
    assert problem.code == "RNN601"
    assert f"`{tmp_path / 'nowhere'}`" in problem.hint
    (tmp_path / "file").touch()
    assert diagnostic(tmp_path / "file" / "a.rnn").code == "RNN601"


def test_a_directory_names_a_spec_inside(tmp_path: Path) -> None:
    (tmp_path / "a.rnn").touch()
    problem = diagnostic(tmp_path)
    assert (problem.code, problem.message) == ("RNN602", f"`{tmp_path}` is a directory")
    assert str(tmp_path / "a.rnn") in problem.hint


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_regular_file_is_not_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "spec.rnn"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as ours:
            ours.bind(str(path))
    problem = diagnostic(path)
    assert problem.code == "RNN602"
    assert re.search(
        rf"cannot be read: it is a (named )?{kind}, not a regular file", problem.message
    )
    assert problem.hint == "`-` reads standard input"


@pytest.mark.parametrize("length", [251, 252, 300, 5000])
def test_no_file_is_looked_for_by_a_name_that_no_file_can_have(tmp_path: Path, length: int) -> None:
    """A name in a file system has at most 255 bytes, `.rnn` among them."""
    path = tmp_path / "spec.rnn"
    name = "a" * length
    path.write_text(f"use lstm from {name}\ninput x: real[2]\nstate h: real[2]\nh' = x ⊕ h\n")
    codes = [d.code for d in check(read_spec(str(path)))]
    assert codes.count("RNN210") == 1
    for argument in (f"{name}.rnn", str(tmp_path / name / "b.rnn"), f"zoo:{name}"):
        assert diagnostic(argument).code in {"RNN601", "RNN602", "RNN606"}


def test_a_used_file_that_is_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mine.rnn")
    path = tmp_path / "spec.rnn"
    path.write_text("use lstm from mine\ninput x: real[2]\nstate h: real[2]\nh' = x ⊕ h\n")
    assert [d.code for d in check(read_spec(str(path)))].count("RNN210") == 1


def test_an_unreadable_path_is_told(tmp_path: Path) -> None:
    loop = tmp_path / "loop.rnn"
    loop.symlink_to(loop)
    assert diagnostic(loop).code == "RNN602"
    assert diagnostic("x" * 5000 + ".rnn").code == "RNN602"
    assert diagnostic("a\0b").code == "RNN602"


def test_the_first_bad_byte_has_a_place() -> None:
    with pytest.raises(RnnError) as caught:
        decode_spec("ab\r\né".encode() + b"\xff\xfe", "a.rnn", None)
    (problem,) = caught.value.diagnostics
    assert problem.code == "RNN603"
    assert problem.message == "`a.rnn` is not UTF-8 text: byte 0xff at offset 6"
    assert str(problem.span) == "a.rnn:2:2"


def test_utf_16_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "a.rnn"
    path.write_text("input x: real", encoding="utf-16")
    assert "UTF-16" in diagnostic(path).hint


def test_nul_has_a_place(tmp_path: Path) -> None:
    path = tmp_path / "a.rnn"
    path.write_bytes(b"input x: real\nst\0te")
    problem = diagnostic(path)
    assert problem.code == "RNN603"
    assert str(problem.span) == f"{path}:2:3"


def test_the_size_limit_is_stated(tmp_path: Path) -> None:
    path = tmp_path / "a.rnn"
    path.write_bytes(b"#" * MAX_SPEC_BYTES)
    assert len(read_spec(str(path)).text) == MAX_SPEC_BYTES
    path.write_bytes(b"#" * (MAX_SPEC_BYTES + 1))
    problem = diagnostic(path)
    assert problem.code == "RNN604"
    assert f"{MAX_SPEC_BYTES:,}" in problem.message


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs an endless file")
def test_an_endless_input_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/zero", encoding="utf-8") as endless:
        monkeypatch.setattr(sys, "stdin", endless)
        assert diagnostic("-").code == "RNN604"


@given(st.binary(max_size=200))
def test_any_bytes_are_text_or_one_diagnostic(data: bytes) -> None:
    try:
        source = decode_spec(data, "a.rnn", None)
    except RnnError as error:
        diagnostics = error.diagnostics
    else:
        assert "\0" not in source.text
        return
    assert [(d.code, d.span is not None) for d in diagnostics] == [("RNN603", True)]
    assert render_text(diagnostics[0])


def test_standard_input_is_a_file_too() -> None:
    result = rnnc("check", "-", "--json", stdin=b"\xff")
    assert result.returncode == 1
    (problem,) = json.loads(result.stdout)["diagnostics"]
    assert (problem["code"], problem["file"], problem["line"]) == ("RNN603", "<stdin>", 1)


@pytest.mark.parametrize("name", ["lsmt", "", "../../etc/passwd", "\0", "zoo:lstm"])
def test_the_zoo_says_what_it_has_not(name: str) -> None:
    problem = diagnostic(f"zoo:{name}")
    assert problem.code.startswith("RNN")
    if name == "lsmt":
        assert "lstm" in problem.hint
