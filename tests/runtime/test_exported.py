"""`rnnc compile -o`: which files are written, and what is never overwritten."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rnnc.compiler.backends.cpu import build, toolchain
from rnnc.runtime import exported
from rnnc.runtime.cli import main

SPEC = "input x: real[2]\nstate h: real[3]\nh' = x ⊕ h\nx' = ▷ h'\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("spec.rnn").write_text(SPEC, encoding="utf-8")
    return tmp_path


def compile_to(path: str, *more: str) -> Result:
    return CliRunner().invoke(main, ["compile", "spec.rnn", "-o", path, *more])


def names() -> list[str]:
    return sorted(path.name for path in Path().iterdir() if path.name != "spec.rnn")


def test_a_module_and_its_c_are_written_without_a_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for place, name in ((build, "build"), (toolchain, "find_toolchain")):
        monkeypatch.setattr(place, name, lambda *_, **__: pytest.fail("a compiler is looked for"))
    found = compile_to("model.py")
    assert found.exit_code == 0
    assert found.output == "wrote model.py and model.c\n"
    assert names() == ["model.c", "model.py"]
    text = Path("model.py").read_text(encoding="utf-8")
    compile(text, "model.py", "exec")
    assert SPEC.splitlines()[0] in text
    assert "#define VECTOR_BYTES" in Path("model.c").read_text(encoding="utf-8")


@pytest.mark.parametrize("there", ["model.py", "model.c"])
def test_what_is_there_is_replaced_with_force_alone(there: str) -> None:
    Path(there).write_text("mine")
    found = compile_to("model.py")
    assert found.exit_code == 1
    assert f"error[RNN652]: `{there}` is already there" in found.output
    assert names() == [there]
    assert Path(there).read_text() == "mine"
    assert compile_to("model.py", "--force").exit_code == 0
    assert names() == ["model.c", "model.py"]
    assert Path(there).read_text(encoding="utf-8") != "mine"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("model.txt", "RNN651"),
        ("model", "RNN651"),
        ("my-model.py", "RNN651"),
        ("class.py", "RNN651"),
        ("torch.py", "RNN651"),
        ("json.py", "RNN651"),
        ("ﬁne.py", "RNN651"),
        ("nowhere/model.py", "RNN605"),
        ("spec.rnn/model.py", "RNN605"),
    ],
)
def test_a_target_that_makes_no_sense_is_one_clear_error(path: str, code: str) -> None:
    found = compile_to(path)
    assert found.exit_code == 1
    assert found.output.startswith(f"error[{code}]: ")
    assert names() == []


def test_a_name_in_any_alphabet_will_do() -> None:
    assert compile_to("größe.py").exit_code == 0
    assert names() == ["größe.c", "größe.py"]


def test_both_files_are_written_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    save = exported.save

    def full(path: Path, data: bytes, *, force: bool = False) -> None:
        if path.suffix == ".py":
            raise OSError(28, os.strerror(28), str(path))
        save(path, data, force=force)

    monkeypatch.setattr(exported, "save", full)
    found = compile_to("model.py")
    assert found.exit_code == 1
    assert "no space left" in found.output
    assert names() == []


@pytest.mark.parametrize("more", [["--emit", "plan"], ["--backend", "aten"]])
def test_options_that_contradict_it_are_wrong_usage(more: list[str]) -> None:
    assert compile_to("model.py", *more).exit_code == 2
    assert names() == []


def test_c_for_vectors_of_another_width_runs_too(here: Path) -> None:
    import torch

    import rnnc
    from support.imports import without

    model = rnnc.compile("spec.rnn", backend="reference")
    x = torch.randn(4, 3, 2)
    torch.save([model.state_dict(), x, model(x)[0].detach()], "right.pt")
    for vectors in ("plain", "avx512"):
        assert compile_to("model.py", "--vectors", vectors, "--force").exit_code == 0
        program = f"""
import os, sys
os.chdir({str(here)!r})
sys.path.insert(0, ".")
import torch, model
model.machine_level = lambda: "plain"
weights, x, right = torch.load("right.pt")
net = model.Model()
net.load_state_dict(weights)
print(float((net(x)[0] - right).abs().max()))
"""
        done = without({"rnnc"}, program)
        assert done.returncode == 0, done.stderr.decode()
        assert float(done.stdout) < 1e-5
