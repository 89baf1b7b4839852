"""Quick commands: output, streams, and exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from rnnc.compiler.backends.registry import BACKENDS
from rnnc.operators.sources.zoo import zoo_names
from rnnc.runtime.cli import main
from rnnc.runtime.print_diagnostics import MAX_DIAGNOSTICS

RUNNER = CliRunner()

CONVENTIONAL = """\
input x: binary[88]
state h: real[200]

h' = x ⊕ h
x' = ▷ h'
"""

BROKEN = """\
input x: binary[88]
state h: real[200]
output y: real[3]

h' = tanh(W h + U y + b)
y = ▷ hh
"""

TWO = """\
model first(hidden = 4):
    input x: real[2]
    state h: real[hidden]
    h' = x ⊕ h
    x' = ▷ h'

model second(hidden = 5):
    input x: real[2]
    state h: real[hidden]
    h' = x ⊕ h
    x' = ▷ h'
"""

UNSCORED = """\
input x: real[2]
state h: real[3]
output y: real[3] unscored
output z: real at end unscored
h' = x ⊕ h
y = h'
z = sum(h')
"""

LIGHT = ["check", "inspect", "graph"]
JSON = ["check", "inspect"]


def rnnc(*arguments: str | Path, stdin: str | bytes = "") -> Result:
    return RUNNER.invoke(main, [str(argument) for argument in arguments], input=stdin)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "conventional.rnn"
    path.write_text(CONVENTIONAL)
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.rnn"
    path.write_text(BROKEN)
    return path


def document(result: Result) -> Any:
    assert not result.stderr
    return json.loads(result.stdout)


def test_check_says_what_is_in_a_spec(spec: Path) -> None:
    result = rnnc("check", spec)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{spec}: ok — 1 model, 75,488 parameters\n"


def test_check_reports_every_error_of_every_file(spec: Path, broken: Path) -> None:
    result = rnnc("check", broken, spec, broken.parent / "missing.rnn")
    assert result.exit_code == 1
    assert result.stdout == f"{spec}: ok — 1 model, 75,488 parameters\n"
    assert f"{broken}:5:19: error[" in result.stderr
    assert f"{broken}:6:7: error[" in result.stderr
    assert "error[RNN601]: there is no file" in result.stderr


def test_check_json_is_one_document(spec: Path, broken: Path) -> None:
    assert document(rnnc("check", "--json", spec)) == {"diagnostics": []}
    result = rnnc("check", spec, broken, "--json")
    assert result.exit_code == 1
    diagnostics = document(result)["diagnostics"]
    fields = [
        "code",
        "severity",
        "message",
        "hint",
        "file",
        "line",
        "column",
        "end_line",
        "end_column",
    ]
    assert all(list(diagnostic) == fields for diagnostic in diagnostics)
    places = [(d["file"], d["line"], d["column"]) for d in diagnostics]
    assert places == [(str(broken), 5, 19), (str(broken), 6, 7)]


def test_check_sees_every_model_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "two.rnn"
    path.write_text(TWO)
    result = rnnc("check", path)
    assert (
        result.stdout
        == f"{path}: ok — 2 models: first with 38 parameters, second with 52 parameters\n"
    )
    path.write_text(TWO.replace("h' = x ⊕ h\n    x' = ▷ h'", "h' = x ⊕ hh\n    x' = ▷ h'"))
    result = rnnc("check", path)
    assert result.exit_code == 1
    assert result.stderr.count("error[") == 2
    assert rnnc("check", path, "--model", "second").stderr.count("error[") == 1


def test_one_of_several_models_must_be_picked(tmp_path: Path) -> None:
    path = tmp_path / "two.rnn"
    path.write_text(TWO)
    result = rnnc("inspect", path)
    assert result.exit_code == 1
    assert "first" in result.stderr
    assert "second" in result.stderr
    assert document(rnnc("inspect", path, "--model", "second", "--json"))["model"] == "second"
    assert rnnc("inspect", path, "--model", "third").exit_code == 1


def test_set_binds_parameters(tmp_path: Path) -> None:
    path = tmp_path / "two.rnn"
    path.write_text(TWO)
    arguments = ["inspect", path, "--model", "first", "--json", "--set", "hidden=7"]
    assert document(rnnc(*arguments))["states"][0]["type"] == "real[7]"
    wrong = rnnc("inspect", path, "--model", "first", "--set", "hiden=7")
    assert wrong.exit_code == 1
    assert "hidden" in wrong.stderr


def test_inspect_json_has_the_fields_of_the_contract(spec: Path) -> None:
    summary = document(rnnc("inspect", spec, "--json"))
    assert list(summary)[:6] == ["model", "inputs", "states", "outputs", "parameters", "depth"]
    assert summary["model"] == "conventional"
    assert summary["inputs"] == [{"name": "x", "type": "binary[88]"}]
    assert summary["states"] == [{"name": "h", "type": "real[200]", "delay": 1}]
    assert summary["outputs"] == [{"name": "x'", "type": "binary[88]"}]
    parameters = summary["parameters"]
    assert (parameters["total"], parameters["weights"]) == (75_488, 75_200)
    shapes = {tensor["name"]: tensor["shape"] for tensor in parameters["tensors"]}
    assert shapes["plus.W"] == [200, 200]
    assert shapes["plus.U"] == [200, 88]
    assert set(parameters["tensors"][0]) == {"name", "shape", "operator", "init", "frozen"}
    assert summary["depth"] == {
        "input_to_hidden": 1,
        "hidden_to_hidden": 1,
        "hidden_to_output": 1,
        "recurrent": 1,
        "feedforward": 2,
        "skip_coefficient": 1,
    }


def test_inspect_shows_a_table(spec: Path) -> None:
    text = rnnc("inspect", spec).stdout
    assert text.startswith("model conventional\n")
    assert "75,488 parameters, 75,200 of them weights" in text
    for line in ["input   x   binary[88]", "state   h   real[200]", "output  x'  binary[88]"]:
        assert line in text
    assert "200 × 88" in text
    assert "hidden to hidden depth" in text


def test_inspect_json_of_a_broken_spec_is_its_diagnostics(broken: Path) -> None:
    result = rnnc("inspect", broken, "--json")
    assert result.exit_code == 1
    assert len(document(result)["diagnostics"]) == 2


def test_graph_prints_text(spec: Path) -> None:
    result = rnnc("graph", spec)
    assert result.exit_code == 0
    assert "plus" in result.stdout or "⊕" in result.stdout


@pytest.mark.parametrize("command", LIGHT)
def test_standard_input_is_a_spec(command: str) -> None:
    assert rnnc(command, "-", stdin=CONVENTIONAL).exit_code == 0
    ascii_spec = CONVENTIONAL.replace("⊕", "(+)").replace("▷", "|>")
    assert rnnc(command, "-", stdin=ascii_spec).exit_code == 0
    assert rnnc(command, "-", stdin=BROKEN).exit_code == 1


@pytest.mark.parametrize("command", LIGHT)
def test_the_zoo_is_a_spec(command: str) -> None:
    for name in zoo_names():
        assert rnnc(command, f"zoo:{name}").exit_code == 0, name
    result = rnnc(command, "zoo:nothing")
    assert result.exit_code == 1
    assert "error[RNN606]: there is no `nothing` in the zoo" in result.stderr


NONSENSE: dict[str, bytes] = {
    "empty": b"",
    "blank": b"\n\n",
    "comment": b"# nothing\n",
    "bytes": bytes(range(256)),
    "nul": b"input x: real\0\n",
    "utf-16": CONVENTIONAL.encode("utf-16"),
    "brackets": b"h' = " + b"(" * 5000,
    "closing": b")" * 5000,
    "primes": b"h" + b"'" * 5000,
    "minus": b"h' = " + b"-" * 20000 + b"h",
    "deep": CONVENTIONAL.replace("x ⊕ h", "tanh(" * 2000 + "h" + ")" * 2000).encode(),
    "digits": b"input x: real[" + b"9" * 10000 + b"]",
    "huge": b"input x: real[1000000000000]\nstate h: real[1000000000000]\nh' = x (+) h\nx' = |> h'",
    "power": b"input x: real[9**9**9**9]\n",
    "division": b"input x: real[1/0]\n",
    "for": b"model m:\n    for l in 1..1000000000000:\n        state h_l: real\n",
    "tabs": b"model m:\n\t input x: real\n \tstate h: real\n",
    "python": b"import os\nos.system('true')\n",
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.",
    "html": b"<html><body>404</body></html>\n",
    "bidi": "input x\u202e: real\n".encode(),
    "separators": "input x: real\u2028state h: real\u0085h' = x\n".encode(),
    "surrogate": b"input \xed\xa0\x80: real\n",
    "long": b"h' = " + b" + ".join([b"h"] * 20000),
    "use": b"use lstm from nowhere\n",
    "self": b"operator f(a) = f(a)\ninput x: real\nstate h: real\nh' = f(h)\nx' = |> h'\n",
}


@pytest.mark.parametrize("command", LIGHT)
@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_status_1_and_no_traceback(name: str, command: str, tmp_path: Path) -> None:
    path = tmp_path / "nonsense.rnn"
    path.write_bytes(NONSENSE[name])
    result = rnnc(command, path)
    assert result.exit_code == 1, result.stdout[:500]
    assert not result.stdout
    assert "error[RNN" in result.stderr
    assert "error[RNN9" not in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("error[") <= MAX_DIAGNOSTICS


@given(st.text(max_size=120))
def test_any_text_is_a_spec_or_a_diagnostic(text: str) -> None:
    result = rnnc("check", "-", "--json", stdin=text.encode("utf-8", "surrogatepass"))
    diagnostics = document(result)["diagnostics"]
    assert result.exit_code == any(d["severity"] == "error" for d in diagnostics)
    assert not [d for d in diagnostics if d["code"].startswith("RNN9")]


def test_explain_knows_every_code() -> None:
    from rnnc.grammar.diagnostics.codes import CODES

    for code in CODES:
        result = rnnc("explain", code)
        assert result.exit_code == 0
        assert code in result.stdout
    first = next(iter(CODES))
    assert rnnc("explain", first.lower()).stdout == rnnc("explain", first).stdout
    assert rnnc("explain", first.removeprefix("RNN")).stdout == rnnc("explain", first).stdout


def test_explain_suggests_a_near_code() -> None:
    result = rnnc("explain", "RNM601")
    assert result.exit_code == 2
    assert "`RNN601`" in result.stderr


def test_doctor_says_what_there_is() -> None:
    import torch

    result = rnnc("doctor")
    assert result.exit_code == 0
    assert torch.__version__ in result.stdout
    findings = {
        finding["name"]: finding for finding in document(rnnc("doctor", "--json"))["findings"]
    }
    named = {"Python", "torch", "CUDA", "C compiler", "Triton", "processor", "data", "cache"}
    assert named | {f"backend {name}" for name in BACKENDS} == set(findings)
    assert findings["backend reference"]["status"] == "ok"
    assert sum("auto takes it on cpu" in f["detail"] for f in findings.values()) == 1
    assert findings["torch"]["status"] == "ok"
    assert all(f["hint"] for f in findings.values() if f["status"] != "ok")


def test_doctor_misses_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("RNNC_DATA", str(tmp_path / "nowhere"))
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    findings = {f["name"]: f["status"] for f in document(rnnc("doctor", "--json"))["findings"]}
    assert findings["C compiler"] == "missing"
    assert findings["data"] == "missing"
    assert findings["cache"] == "broken"


def test_doctor_says_why_kernels_cannot_be_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "rnnc" / "kernels"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    (finding,) = (f for f in document(rnnc("doctor", "--json"))["findings"] if f["name"] == "cache")
    assert finding["status"] == "broken"
    assert "is open to other users" in finding["detail"]


def test_every_command_knows_what_is_not_scored(tmp_path):
    assert rnnc("check", "-", stdin=UNSCORED).exit_code == 0
    outputs = json.loads(rnnc("inspect", "-", "--json", stdin=UNSCORED).stdout)["outputs"]
    assert [(o["name"], o["unscored"], o.get("at_end", False)) for o in outputs] == [
        ("y", True, False),
        ("z", True, True),
    ]
    shown = rnnc("inspect", "-", stdin=UNSCORED).stdout
    assert "output  y  real[3]  unscored" in shown
    assert "output  z  real     at end unscored" in shown
    assert rnnc("fmt", "-", stdin=UNSCORED).stdout == UNSCORED
    assert rnnc("graph", "-", "-o", tmp_path / "a.dot", stdin=UNSCORED).exit_code == 0
    assert "unscored" in (tmp_path / "a.dot").read_text()
