"""Models written as modules, and calls of them that are held against the backend `cpu`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rnnc.compiler.backends.backend import Options
from rnnc.compiler.backends.cpu.toolchain import machine_level
from rnnc.compiler.export.text import export
from rnnc.compiler.module import CompiledRNN

from . import feeds
from .commands import ROOT
from .imports import without

SCRIPT = ROOT / "tests" / "support" / "exported_calls.py"


def written(model: CompiledRNN, name: str, folder: Path) -> None:
    texts = export(model.graph, model.program, Options(), machine_level(), name)
    (folder / f"{name}.py").write_text(texts.python, encoding="utf-8")
    (folder / f"{name}.c").write_text(texts.c, encoding="utf-8")


def case_of(model: CompiledRNN, name: str, seed: int, **said: Any) -> dict[str, Any]:
    """A call and what it is to give; the answer itself comes later."""
    flags = {key: said.pop(key, False) for key in ("ragged", "reset", "carry")}
    feeds.randomise(model, seed)
    feed = feeds.feed(model, 5, 3, seed=seed, **flags)
    return {
        "module": name,
        "double": next(model.parameters()).dtype == torch.float64,
        "weights": model.state_dict(),
        "x": feed.x,
        "state": None if feed.state is None else tuple(feed.state),
        "lengths": feed.lengths,
        "resets": feed.resets,
        "targets": None,
        **{"training": True, "gradients": True, "embedded": False, **said},
    }


def check(cases: list[dict[str, Any]], folder: Path) -> None:
    torch.save(cases, folder / "cases.pt")
    program = (
        f"import runpy, sys\nsys.argv = ['', {str(folder)!r}]\n"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    done = without({"rnnc", "lark", "networkx", "click", "platformdirs", "msgspec"}, program)
    assert done.returncode == 0, done.stderr.decode()
    told = done.stdout.decode()
    assert told == f"{len(cases)} cases\n", told
