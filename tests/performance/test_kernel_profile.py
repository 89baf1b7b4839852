"""The clocks around the kernel groups of a step."""

from __future__ import annotations

import pytest

from . import kernel_profile


def test_each_phase_of_a_step_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--set", "hidden=20", "--rows", "33", "--steps", "4", "--rounds", "3"]
    kernel_profile.main(["zoo:lstm", *sizes])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("a step: all ")
    assert any("forward, one step after the other: all " in line for line in lines)
    assert any("backward, one step after the other: all " in line for line in lines)
    assert all("; shallow " in line for line in lines)
