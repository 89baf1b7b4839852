"""Checkpoints: round trips, and one diagnostic for any invalid file."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.runtime.training.interrupt import InterruptHandler
from rnnc.runtime.training.run_state.checkpoint import (
    CHECKSUM_KEY,
    METADATA_KEY,
    read_checkpoint,
    write_checkpoint,
)
from rnnc.runtime.training.run_state.run_folder import create_run, open_run
from rnnc.runtime.training.session import load_trained, resume_training
from support.training.small_runs import run_to_end, start_small_training


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data` and a finished `run`."""
    folder = tmp_path_factory.mktemp("finished")
    run_to_end(start_small_training(folder, epochs=1))
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint with the best weights."""
    path = tmp_path / "best.safetensors"
    path.write_bytes((finished / "run" / "best.safetensors").read_bytes())
    return path


def code(caught: pytest.ExceptionInfo[RnnError]) -> str:
    (diagnostic,) = caught.value.diagnostics
    return diagnostic.code


def rewritten(path: Path, *, header: object = None, **tensors: torch.Tensor | None) -> None:
    """Rewrite a checkpoint with another header or other tensors (None drops one).

    As versions of rnnc before the checksum wrote them.
    """
    metadata = {METADATA_KEY: metadata_of(path)[METADATA_KEY]}
    if header is not None:
        metadata[METADATA_KEY] = header if isinstance(header, str) else json.dumps(header)
    merged = {**load_file(path), **tensors}
    save_file({k: v for k, v in merged.items() if v is not None}, path, metadata)


def metadata_of(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return file.metadata()


def header_of(path: Path) -> dict[str, object]:
    return json.loads(metadata_of(path)[METADATA_KEY])


def test_a_checkpoint_is_all_that_is_needed(finished, copied):
    model, task, _problem, header = load_trained(copied, finished / "data")
    assert header.program.text == model.program.text
    assert task.name == "jsb"
    assert header.config.epochs == 1
    for name, tensor in load_file(copied).items():
        assert torch.equal(model.state_dict()[name], tensor)


def test_weights_are_named_as_in_the_spec(copied):
    assert set(load_file(copied)) == {"plus.W", "plus.U", "plus.b", "predict.V", "predict.b"}


@given(data=st.data())
def test_a_file_that_is_cut_or_scratched_gives_one_diagnostic_or_is_read(
    finished, tmp_path_factory, data
):
    content = (finished / "run" / "best.safetensors").read_bytes()
    size = len(content) - sum(
        tensor.numel() * 4 for tensor in load_file(finished / "run" / "best.safetensors").values()
    )
    broken = bytearray(content)
    if data.draw(st.booleans(), label="cut"):
        del broken[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 4), label="scratches in the header")):
        if broken:
            place = data.draw(st.integers(0, min(size, len(broken)) - 1))
            broken[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "scratched.safetensors"
    path.write_bytes(bytes(broken))
    codes = ["read"]
    try:
        load_trained(path, finished / "data")
    except RnnError as error:
        codes = [diagnostic.code for diagnostic in error.diagnostics]
    assert codes
    assert "RNN901" not in codes


def test_any_flipped_bit_is_refused(finished, tmp_path):
    header, tensors = read_checkpoint(finished / "run" / "best.safetensors")
    path = tmp_path / "small.safetensors"
    write_checkpoint(path, header, {name: tensor[:2] for name, tensor in tensors.items()})
    read_checkpoint(path)
    content = path.read_bytes()
    read = []
    with path.open("r+b", buffering=0) as file:
        # Every bit of an eighth of the bytes, and one of each byte.
        for place, byte in enumerate(content):
            for bit in range(8) if place % 8 == 0 else [place % 7]:
                file.seek(place)
                file.write(bytes([byte ^ 1 << bit]))
                with contextlib.suppress(RnnError):
                    read_checkpoint(path)
                    read.append((place, bit))
            file.seek(place)
            file.write(bytes([byte]))
    read_checkpoint(path)
    assert read == []


def test_a_checkpoint_from_before_the_checksum_is_read(finished, copied, capsys):
    before = load_file(copied)
    rewritten(copied)
    assert CHECKSUM_KEY not in metadata_of(copied)
    model, *_ = load_trained(copied, finished / "data")
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
    assert capsys.readouterr().err == ""


def test_tensors_under_an_older_checksum_are_refused(copied):
    tensors = load_file(copied)
    tensors["plus.b"][0] += 1
    save_file(tensors, copied, metadata_of(copied))
    with pytest.raises(RnnError, match="it was changed") as caught:
        read_checkpoint(copied)
    assert code(caught) == "RNN631"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_told_of_once(finished, copied, capsys, value):
    spoiled = {name: load_file(copied)[name] for name in ("plus.W", "predict.b")}
    for tensor in spoiled.values():
        tensor.view(-1)[-1] = value
    rewritten(copied, **spoiled)
    load_trained(copied, finished / "data")
    err = capsys.readouterr().err
    assert err.count("RNN635") == 1
    assert "not finite: in `plus.W` and in 1 more" in err


def test_a_pipe_is_no_checkpoint(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RnnError, match="it is a named pipe, not a regular file") as caught:
        read_checkpoint(tmp_path / "pipe")
    assert code(caught) == "RNN631"


FOREIGN = {
    "empty": b"",
    "text": b"no checkpoint at all",
    "pickle": b"cos\nmkdir\n(Vexecuted\ntR.",
    "huge header": b"\xff" * 64,
    "zip": b"PK\x03\x04" + bytes(60),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_refused_and_nothing_runs(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "best.safetensors"
    path.write_bytes(FOREIGN[name])
    with pytest.raises(RnnError, match="not a whole safetensors file") as caught:
        read_checkpoint(path)
    assert code(caught) == "RNN631"
    assert not (tmp_path / "executed").exists()


def test_somebody_elses_safetensors_are_refused(tmp_path):
    path = tmp_path / "theirs.safetensors"
    save_file({"W": torch.zeros(2)}, path)
    with pytest.raises(RnnError, match="not written by rnnc") as caught:
        read_checkpoint(path)
    assert code(caught) == "RNN631"


def test_another_format_version_is_named(copied):
    rewritten(copied, header={"format": 99, "anything": 1})
    with pytest.raises(RnnError, match="has format 99, and this rnnc reads 1") as caught:
        read_checkpoint(copied)
    assert code(caught) == "RNN632"


@pytest.mark.parametrize(
    "header",
    ["", "null", "[]", "{", '{"format": "1"}', '{"format": 1}', "[" * 100_000, '{"format": 1.5}'],
)
def test_a_header_of_another_form_is_refused(copied, header):
    rewritten(copied, header=header)
    with pytest.raises(RnnError, match="its header is wrong") as caught:
        read_checkpoint(copied)
    assert code(caught) == "RNN631"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["config", "epochs"], 0, "RNN631.*header is wrong.*epochs"),
        (["config", "learning_rate"], "fast", "RNN631.*header is wrong"),
        (["progress", "epoch"], -1, "RNN631.*header is wrong"),
        (["surprise"], 1, "RNN631.*header is wrong.*surprise"),
        (["task", "name"], "chess", "RNN631.*no task `chess`"),
        (["task", "options"], {"length": 5}, "RNN631.*no option `length`"),
        (["task", "name"], "adding", "RNN620"),
        (["program", "text"], "h' = ", "RNN1"),
        (["program", "text"], "", "RNN114"),
        (["program", "parameters"], {"hidden": 3}, "RNN216"),
    ],
)
def test_a_tampered_header_is_refused(finished, copied, path, value, words):
    header = header_of(copied)
    inner = header
    for key in path[:-1]:
        inner = inner[key]  # type: ignore[assignment]
    inner[path[-1]] = value
    rewritten(copied, header=header)
    with pytest.raises(RnnError, match=f"(?s){words}"):
        load_trained(copied, finished / "data")


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (
            {"plus.W": torch.zeros(6, 7)},
            r"`plus.W` should have the shape \(6, 6\) and has \(6, 7\)",
        ),
        ({"plus.W": None}, "it has no `plus.W`"),
        ({"plus.X": torch.zeros(1)}, "it has `plus.X`, which the spec does not have"),
        ({"plus.b": torch.zeros(6).double()}, "`plus.b` should be float32 and is float64"),
    ],
)
def test_weights_that_do_not_fit_are_named(finished, copied, tensors, words):
    rewritten(copied, **tensors)
    with pytest.raises(RnnError, match=words) as caught:
        load_trained(copied, finished / "data")
    assert code(caught) == "RNN633"


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"random": None}, "it has no `random`"),
        ({"random": torch.zeros(3, dtype=torch.uint8)}, "`random` should have the shape"),
        ({"optimizer.plus.W.exp_avg": None}, "it has no `optimizer.plus.W.exp_avg`"),
        ({"optimizer.plus.W.step": torch.zeros(2)}, r"should have the shape \(\)"),
        ({"model.plus.W": torch.zeros(2, 2)}, r"`model.plus.W` should have the shape \(6, 6\)"),
        ({"surplus": torch.zeros(2)}, "it has `surplus`"),
    ],
)
def test_a_state_that_does_not_fit_is_named(finished, tmp_path, tensors, words):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("last.safetensors", "best.safetensors", "metrics.jsonl"):
        (run / name).write_bytes((finished / "run" / name).read_bytes())
    rewritten(run / "last.safetensors", **tensors)
    with pytest.raises(RnnError, match=words) as caught:
        resume_training(run, {}, data=finished / "data", interrupt_handler=InterruptHandler())
    assert code(caught) == "RNN633"


def test_a_folder_that_holds_a_run_is_refused_and_left_as_it_is(finished):
    run = finished / "run"
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    with pytest.raises(RnnError, match="already holds a run, and nothing is overwritten") as caught:
        create_run(run, "small", "jsb")
    assert code(caught) == "RNN634"
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_folder_with_other_files_may_take_a_run(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert create_run(tmp_path, "small", "jsb").folder == tmp_path
    with pytest.raises(RnnError, match="already holds a run"):
        create_run(tmp_path, "small", "jsb")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RnnError, match="is a file, and a run needs a folder"):
        create_run(tmp_path / "file", "small", "jsb")


def test_runs_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [create_run(None, "small", "jsb").folder.as_posix() for _ in range(3)]
    assert names == ["runs/small-jsb-1", "runs/small-jsb-2", "runs/small-jsb-3"]
    assert create_run(None, "../a b/ⅹ", "jsb").folder.parent.as_posix() == "runs"


@pytest.mark.parametrize("kind", ["nothing", "file", "folder"])
def test_what_is_no_run_is_called_none(tmp_path, kind):
    path = tmp_path / "run"
    if kind == "file":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(RnnError, match="is no run") as caught:
        open_run(path)
    assert code(caught) == "RNN630"
