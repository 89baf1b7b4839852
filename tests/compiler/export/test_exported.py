"""Exported modules give the same bits as the backend `cpu`, without rnnc."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import rnnc
from rnnc.compiler.backends.backend import Options
from rnnc.compiler.backends.cpu import build
from rnnc.compiler.backends.cpu.toolchain import machine_level
from rnnc.compiler.export.text import export
from rnnc.compiler.module import CompiledRNN
from rnnc.operators.shipped import zoo_names
from support import feeds
from support.commands import ROOT
from support.exported_calls import answer
from support.imports import without
from support.shared_unit import compiled_together

SCRIPT = ROOT / "tests" / "support" / "exported_calls.py"
LAWFUL = """
model m(H = 6):
    input x: real[3]
    input s: symbol[5]
    state h: real[H] = learned
    state g: real[4] = uniform(-0.1, 0.1)
    state b: real[H]
    param F: frozen
    operator x ⊕ h = tanh(F h + W x + E s + 0.2 * B b)
    h' = x ⊕ h
    g' = zoneout(0.2, tanh(G h' + K g + L x[t-2]), g)
    b' = h ⊕ b
    law x ⊕ (x[t-1] ⊕ h) ≈ x[t-1] ⊕ (x ⊕ h) weight 0.1
    output y: real[2]
    y = variational(0.3, V h') + U g'
    output z: real[1] at end
    z = Z h'
    loss sum(abs(h')) weight 0.3
"""


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
    assert done.stdout.decode() == f"{len(cases)} cases\n"


@pytest.mark.parametrize("part", range(2))
def test_the_zoo_has_the_same_bits_without_rnnc(
    part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-O1"))
    cases: list[dict[str, Any]] = []
    models: list[CompiledRNN] = []
    for seed, name in enumerate(zoo_names()):
        if seed % 2 != part:
            continue
        torch.manual_seed(seed)
        model = rnnc.compile(f"zoo:{name}")
        if model.backend != "cpu":
            continue
        written(model, name, tmp_path)
        model = model.double() if part else model
        everything = {"ragged": True, "reset": True, "carry": True, "embedded": True}
        said = everything if seed % 4 < 2 else {"training": seed % 8 < 4}
        cases.append(case_of(model, name, seed, **said))
        models.append(model)

    def right(model: CompiledRNN, case: dict[str, Any]) -> None:
        case["right"] = answer(model, case)

    todo: list[Callable[[], None]] = [
        partial(right, m, c) for m, c in zip(models, cases, strict=True)
    ]
    for call in compiled_together(todo, monkeypatch):
        call()
    assert len(cases) > 10
    check(cases, tmp_path)
