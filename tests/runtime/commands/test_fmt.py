"""`rnnc fmt` on files: written whole or not at all, and never when a file is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.processes.commands import rnnc

UGLY = "input x:binary[8] # in\nstate h:real[4]\nh'=x(+)h\nx'=|>h'\n"
CANONICAL = "input x: binary[8]  # in\nstate h: real[4]\nh' = x ⊕ h\nx' = ▷ h'\n"
ASCII = "input x: binary[8]  # in\nstate h: real[4]\nh' = x (+) h\nx' = |> h'\n"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "a.rnn"
    path.write_text(UGLY, encoding="utf-8")
    path.chmod(0o640)
    return path


def test_a_file_is_rewritten_in_place(spec):
    assert rnnc("fmt", spec).returncode == 0
    assert spec.read_text(encoding="utf-8") == CANONICAL
    assert spec.stat().st_mode & 0o777 == 0o640
    assert rnnc("fmt", "--ascii", spec).returncode == 0
    assert spec.read_text(encoding="utf-8") == ASCII
    assert list(spec.parent.iterdir()) == [spec]


@pytest.mark.parametrize("option", ["--check", "--diff"])
def test_check_and_diff_change_nothing(spec, option):
    done = rnnc("fmt", option, spec)
    assert done.returncode == 1
    assert spec.read_text(encoding="utf-8") == UGLY
    if option == "--diff":
        assert "+h' = x ⊕ h\n" in done.stdout.decode()
    spec.write_text(CANONICAL, encoding="utf-8")
    assert rnnc("fmt", option, spec).returncode == 0


def test_standard_input_goes_to_standard_output():
    done = rnnc("fmt", "-", stdin=UGLY.encode())
    assert (done.returncode, done.stdout.decode()) == (0, CANONICAL)
    assert rnnc("fmt", "--check", "-", stdin=UGLY.encode()).returncode == 1
    assert rnnc("fmt", "--check", "-", stdin=CANONICAL.encode()).returncode == 0


def test_a_broken_file_is_left_as_it_is_and_the_others_are_formatted(spec, tmp_path):
    broken = tmp_path / "broken.rnn"
    broken.write_text("h' = (x\n", encoding="utf-8")
    done = rnnc("fmt", broken, spec)
    assert done.returncode == 1
    assert b"RNN103" in done.stderr
    assert broken.read_text(encoding="utf-8") == "h' = (x\n"
    assert spec.read_text(encoding="utf-8") == CANONICAL


def test_a_model_of_the_zoo_is_not_ours_to_write():
    assert rnnc("fmt", "zoo:lstm").returncode == 2
