"""The committed gallery is up to date."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

from rnnc.operators.sources.zoo import zoo_names
from support.processes.commands import ROOT, run

COMMITTED = ROOT / "docs"


def words(path: Path) -> list[str]:
    """Return all texts of a picture; coordinates may differ with Graphviz's version."""
    return [text.strip() for text in ElementTree.parse(path).getroot().itertext() if text.strip()]


def test_the_gallery_is_up_to_date(tmp_path: Path) -> None:
    result = run([sys.executable, "-m", "rnnc.runtime.diagrams.gallery", tmp_path])
    assert result.returncode == 0, result.stderr.decode()
    assert (tmp_path / "gallery.md").read_text() == (COMMITTED / "gallery.md").read_text()
    fresh = {path.name: path for path in (tmp_path / "gallery").iterdir()}
    assert set(fresh) == {path.name for path in (COMMITTED / "gallery").iterdir()}
    assert {f"{name}.svg" for name in zoo_names()} <= set(fresh)
    for name, path in fresh.items():
        assert words(path) == words(COMMITTED / "gallery" / name), f"{name}: run `make gallery`"
