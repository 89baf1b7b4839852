"""What `import rnnc`, `rnnc.compile` and the light commands may import."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.processes.blocked_imports import required_modules, run_with_only, run_without

SPEC = "input x: binary[3]\nstate h: real[4]\nh' = x (+) h\nx' = |> h'\n"

COMPILE = f"""
import torch, rnnc
model = rnnc.compile({SPEC!r})
y, state = model(torch.zeros(5, 2, 3))
y.square().sum().backward()
assert y.shape == (5, 2, 3), y.shape
assert all(p.grad is not None for p in model.parameters())
"""

RUN = """
from rnnc.runtime.cli import main
main({arguments!r})
"""


def test_compile_needs_torch_lark_and_networkx_alone() -> None:
    result = run_with_only(required_modules("torch", "lark", "networkx"), COMPILE)
    assert result.returncode == 0, result.stderr.decode()


@pytest.mark.parametrize("module", ["click", "numpy", "rich", "safetensors", "platformdirs"])
def test_the_others_are_out_of_reach(module: str) -> None:
    result = run_with_only(required_modules("torch", "lark", "networkx"), f"import {module}")
    assert b"out of reach: " + module.encode() in result.stderr


@pytest.mark.parametrize("module", ["torch", "lark", "networkx", "sympy"])
def test_what_is_needed_is_in_reach(module: str) -> None:
    result = run_with_only(required_modules("torch", "lark", "networkx"), f"import {module}")
    assert result.returncode == 0, result.stderr.decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["check", "SPEC"],
        ["check", "SPEC", "--json"],
        ["fmt", "SPEC"],
        ["inspect", "SPEC"],
        ["inspect", "SPEC", "--json"],
        ["graph", "SPEC"],
        ["check", "--help"],
        ["eval", "--help"],
        ["tasks"],
    ],
    ids=" ".join,
)
def test_light_commands_start_with_little(arguments: list[str], tmp_path: Path) -> None:
    spec = tmp_path / "spec.rnn"
    spec.write_text(SPEC)
    arguments = [str(spec) if argument == "SPEC" else argument for argument in arguments]
    result = run_with_only({"click", "lark", "platformdirs"}, RUN.format(arguments=arguments))
    assert result.returncode == 0, result.stderr.decode()
    assert result.stdout or b"1 file formatted" in result.stderr


def test_the_help_of_training_starts_without_torch_and_numpy() -> None:
    result = run_without({"torch", "numpy", "lark"}, RUN.format(arguments=["train", "--help"]))
    assert result.returncode == 0, result.stderr.decode()


# Modules of the standard library that take longer to import than a spec takes to be checked.
SLOW = ["asyncio", "concurrent", "email", "http", "importlib.metadata"]


@pytest.mark.parametrize("command", ["check", "fmt", "inspect", "graph"])
def test_light_commands_import_nothing_slow(command: str, tmp_path: Path) -> None:
    spec = tmp_path / "spec.rnn"
    spec.write_text(SPEC)
    program = f"""
import sys
from rnnc.runtime.cli import main
try:
    main([{command!r}, {str(spec)!r}])
except SystemExit as end:
    assert not end.code
slow = [name for name in {SLOW!r} if name in sys.modules]
assert not slow, slow
"""
    result = run_without([], program)
    assert result.returncode == 0, result.stderr.decode()


def test_a_command_that_needs_torch_misses_it() -> None:
    result = run_without({"torch", "numpy"}, RUN.format(arguments=["doctor", "--json"]))
    assert result.returncode == 1
    findings = {f["name"]: f for f in json.loads(result.stdout)["findings"]}
    assert findings["torch"]["status"] == "broken"
    assert "out of reach: torch" in findings["torch"]["detail"]


def test_importing_the_package_imports_no_torch() -> None:
    result = run_without({"torch", "numpy", "networkx", "lark"}, "import rnnc; rnnc.RnnError")
    assert result.returncode == 0, result.stderr.decode()
