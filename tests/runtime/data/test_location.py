"""The three ways to locate data, in order of precedence."""

from __future__ import annotations

import pytest

from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.runtime.data.location import data_folder, find_data


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("RNNC_DATA", str(tmp_path / "named"))
    return tmp_path


def test_what_is_given_comes_before_the_environment_and_the_cache(places, monkeypatch):
    assert data_folder(places / "given") == places / "given"
    assert data_folder() == places / "named"
    monkeypatch.setenv("RNNC_DATA", "")
    assert data_folder() == places / "cache" / "rnnc" / "data"


def test_a_file_is_found(places):
    path = places / "named" / "polyphonic" / "a.npz"
    path.parent.mkdir(parents=True)
    path.touch()
    assert find_data("polyphonic/a.npz") == path


@pytest.mark.parametrize("kind", ["nothing", "directory"])
def test_a_missing_file_is_named_with_the_three_ways(places, kind):
    path = places / "named" / "polyphonic" / "a.npz"
    if kind == "directory":
        path.mkdir(parents=True)
    with pytest.raises(RnnError) as caught:
        find_data("polyphonic/a.npz")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "RNN610"
    assert f"`{path}`" in diagnostic.message
    for place in ("--data", "RNNC_DATA", str(places / "cache" / "rnnc" / "data")):
        assert place in diagnostic.hint
