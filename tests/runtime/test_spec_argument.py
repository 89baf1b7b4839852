"""The argument FILE: a path, standard input, or a model of the zoo."""

from __future__ import annotations

import json

import pytest

from rnnc.grammar.diagnostics import RnnError
from rnnc.runtime.spec_argument import read_spec
from support.commands import rnnc


def test_standard_input_is_a_file_too() -> None:
    result = rnnc("check", "-", "--json", stdin=b"\xff")
    assert result.returncode == 1
    (found,) = json.loads(result.stdout)["diagnostics"]
    assert (found["code"], found["file"], found["line"]) == ("RNN602", "<stdin>", 1)


@pytest.mark.parametrize("name", ["lsmt", "", "../../etc/passwd", "\0", "zoo:lstm"])
def test_the_zoo_says_what_it_has_not(name: str) -> None:
    with pytest.raises(RnnError) as caught:
        read_spec(f"zoo:{name}")
    (found,) = caught.value.diagnostics
    assert found.code == "RNN604"
    if name == "lsmt":
        assert "lstm" in found.hint
