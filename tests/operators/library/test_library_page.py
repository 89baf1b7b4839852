"""docs/library.md lists the shipped operators, all of them and no others."""

from __future__ import annotations

import re

import pytest

from rnnc.operators.analyze import zoo_parameters
from rnnc.operators.graph.user_spans import LIBRARY
from rnnc.operators.sources.zoo import zoo_names

ROW = re.compile(r"^\| (?:`(\w+)` )?\| `(\w+\(.*\))` \|", re.M)
MODEL = re.compile(r"^\| `(\w+)` \| `([^`]*)` \|$", re.M)


@pytest.fixture
def page(root) -> str:
    return (root / "docs" / "library.md").read_text(encoding="utf-8")


def test_every_operator_is_listed_with_its_signature(page):
    listed: dict[str, list[str]] = {}
    module = ""
    for named, signature in ROW.findall(page):
        module = named or module
        listed.setdefault(module, []).append(signature)
    shipped = {
        path.stem: re.findall(r"^operator (\w+\(.*\))(?: =|:)", path.read_text("utf-8"), re.M)
        for path in LIBRARY.glob("*.rnn")
        if path.stem != "default"
    }
    assert listed == shipped


def test_every_model_is_listed_with_its_parameters(page):
    listed = dict(MODEL.findall(page))
    assert listed == {
        name: ", ".join(f"{key} = {value}" for key, value in zoo_parameters(name).items())
        for name in zoo_names()
    }
