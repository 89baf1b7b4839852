"""Exported modules give the same bits as the backend `cpu`, without rnnc."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import rnnc
from rnnc.compiler.backends.cpu import build, choices, execution, geometry
from rnnc.compiler.module import CompiledRNN
from rnnc.operators.shipped import zoo_names
from support import feeds
from support.exported_calls import answer
from support.exports import case_of, check, written
from support.imports import without
from support.shared_unit import compiled_together

LAWFUL = """
model größe(H = 6):
    input x: real[3]
    input s: symbol[5]
    state h: real[H] = learned
    state g: real[4] = uniform(-0.1, 0.1)
    operator x ⊕ h:
        param F: frozen
        tanh(F h + W x + b)
    h' = x ⊕ h
    g' = zoneout(0.2, tanh(G h' + K g + L x[t-2] + E s), g)
    law x ⊕ (x[t-1] ⊕ h) ≈ x[t-1] ⊕ (x ⊕ h) weight 0.1
    output y: real[2]
    y = variational(0.3, V h') + U g'
    output class: real[1] at end
    class = Z h'
    loss sum(abs(h')) weight 0.3
"""


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


@pytest.fixture(scope="module")
def lawful(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    """A model with all that a training step may have, whole, and calls of it."""
    folder = tmp_path_factory.mktemp("lawful")
    torch.manual_seed(0)
    model = rnnc.compile(LAWFUL, backend="cpu")
    written(model, "größe", folder)
    everything = {"ragged": True, "reset": True, "carry": True, "embedded": True}
    cases = [
        case_of(model, "größe", 1, **everything),
        case_of(model, "größe", 1),
        case_of(model, "größe", 1, training=False, gradients=False, carry=True),
    ]
    with torch.no_grad():
        y, _ = model(cases[0]["x"])
    for case in cases[:2]:
        case["targets"] = feeds.targets(model, y)
    for case in cases:
        case["right"] = answer(model, case)
    check(cases, folder)
    return cases, folder


@pytest.mark.parametrize("way", ["own", "torch", "measured"])
def test_an_exported_module_takes_products_the_same_way(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured for the model is found on disk by the module."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(choices.VARIABLE, way)
    monkeypatch.setattr(execution, "CHOICES", choices.Choices())
    monkeypatch.setattr(geometry, "ENOUGH_TO_CHOOSE", 0)
    torch.manual_seed(0)
    model = rnnc.compile(LAWFUL, backend="cpu")
    written(model, "größe", tmp_path)
    path = tmp_path / "größe.py"
    text = path.read_text(encoding="utf-8")
    assert "\nENOUGH_TO_CHOOSE = 50_000_000\n" in text
    text = text.replace("\nENOUGH_TO_CHOOSE = 50_000_000\n", "\nENOUGH_TO_CHOOSE = 0\n")
    if way == "measured":
        # It must not measure again: who would, fails.
        text = text.replace("_ROUNDS: Final = 7", "_ROUNDS: Final = None")
        assert "_ROUNDS: Final = None" in text
    path.write_text(text, encoding="utf-8")
    case = case_of(model, "größe", 1)
    case["right"] = answer(model, case)
    check([case], tmp_path)


def test_laws_losses_frozen_parameters_and_chance_are_the_same(
    lawful: tuple[list[dict[str, Any]], Path],
) -> None:
    cases, folder = lawful
    text = (folder / "größe.py").read_text(encoding="utf-8")
    assert LAWFUL.strip().splitlines()[3] in text
    assert "frozen" in text.partition("The spec:")[0]
    assert all(line in text for line in ("Forward, step by step", "Backward, all steps at once"))
    assert all(case["right"] for case in cases)


def test_an_answer_that_is_off_by_one_bit_is_seen(
    lawful: tuple[list[dict[str, Any]], Path],
) -> None:
    cases, folder = lawful
    right = list(cases[1]["right"])
    right[0] = torch.nextafter(right[0], torch.tensor(9.0))
    with pytest.raises(AssertionError, match="result 0 is off by"):
        check([{**cases[1], "right": right}], folder)


def test_what_an_exported_module_cannot_do_is_said(
    lawful: tuple[list[dict[str, Any]], Path],
) -> None:
    _, folder = lawful
    program = f"""
import sys
sys.path.insert(0, {str(folder)!r})
import copy, io, torch, größe
def attempt(run):
    try:
        run()
    except RuntimeError as error:
        print(error)
model = größe.Model(batch_first=True).eval()
file = io.BytesIO()
torch.save(copy.deepcopy(model), file, pickle_protocol=4)
twin = torch.load(io.BytesIO(file.getvalue()), weights_only=False)
x, s = torch.randn(2, 5, 3, requires_grad=True), torch.zeros(2, 5, dtype=torch.int64)
(y, _), state = model((x, s))
assert state._fields == twin.step((x[:, 0], s[:, 0]))[1]._fields
assert y.shape == (2, 5, 2)
attempt(lambda: torch.autograd.grad(y.sum(), x, create_graph=True))
model.plus.F.requires_grad_()
attempt(lambda: model((x, s)))
attempt(lambda: twin.half()((x.half(), s)))
open({str(folder / "größe.c")!r}, "a").write("// changed")
attempt(lambda: größe.Model()((x, s)))
"""
    done = without({"rnnc", "platformdirs"}, program)
    assert done.returncode == 0, done.stderr.decode()
    told = done.stdout.decode().splitlines()
    assert "first derivatives alone" in told[0]
    assert told[1] == "there is no gradient of plus.F here: the spec has it frozen"
    assert told[2] == "this module has float32 and float64, not torch.float16"
    assert told[3].endswith("größe.c is not the file that was exported with this module")
