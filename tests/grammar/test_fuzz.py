"""A few hundred broken texts from seeds; `make fuzz` tries any number."""

from __future__ import annotations

from itertools import count

import pytest

from support.fuzzing import broken_specs
from support.fuzzing.broken_specs import Hang, broken_spec, check_robustness


@pytest.mark.parametrize("block", range(6))
def test_no_text_brings_down_the_checker_or_the_formatter(block):
    for seed in range(block * 50, block * 50 + 50):
        try:
            check_robustness(broken_spec(seed))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {broken_spec(seed)!r}") from error


def test_a_hang_would_be_seen(monkeypatch):
    monkeypatch.setattr(broken_specs, "SECONDS", 0.05)
    monkeypatch.setattr(broken_specs, "check", lambda source: [None for _ in count()])
    with pytest.raises(Hang):
        check_robustness(b"x")


def test_a_crash_would_be_seen(monkeypatch):
    monkeypatch.setattr(broken_specs, "check", lambda source: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        check_robustness(b"x")
