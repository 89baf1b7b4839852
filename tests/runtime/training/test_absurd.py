"""Extreme numbers of the right type are usable, or refused by name and range."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.runtime.cli import main
from rnnc.runtime.tasks import all_tasks
from rnnc.runtime.training.interrupt import InterruptedTrainingError
from rnnc.runtime.training.run_state.checkpoint import METADATA_KEY
from rnnc.runtime.training.run_state.progress import Progress
from rnnc.runtime.training.session import resume_training
from rnnc.runtime.training.settings.command_flags import FLAGS
from rnnc.runtime.training.settings.training_config import TrainingConfig
from support.training.small_runs import InterruptAfter, run_to_end, start_small_training

NUMBERS = (0, -1, 10**9, 2**63 - 1, 2**63, 10**30, 1e-308, 5e-324, 1e30, 1e308, -1e308, 0.5)
CONFIG = [
    f.name for f in msgspec.structs.fields(TrainingConfig) if f.default not in ("adam", "auto")
]
PROGRESS = [f.name for f in msgspec.structs.fields(Progress) if f.name != "law_sums"]
SPEC = "input x: real[2]\nstate h: real[3]\noutput y: real at end\nh' = x ⊕ h\ny = ▷ h'\n"


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data` and a `run` interrupted in its second epoch."""
    folder = tmp_path_factory.mktemp("interrupted")
    with contextlib.suppress(InterruptedTrainingError):
        run_to_end(start_small_training(folder, interrupt_handler=InterruptAfter(6)))
    return folder


def outcome(folder: Path, copy: Path, keys: list[str], value: Any) -> str:
    """Return the error of resuming a run with a changed header; empty if it works."""
    copy.mkdir(exist_ok=True)
    for path in (folder / "run").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    path = copy / "last.safetensors"
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()[METADATA_KEY])
    inner = header
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    save_file(load_file(path), path, {METADATA_KEY: json.dumps(header)})
    try:
        run_to_end(
            resume_training(copy, {}, data=folder / "data", interrupt_handler=InterruptAfter(4))
        )
    except InterruptedTrainingError:
        return ""
    except RnnError as error:
        (diagnostic,) = error.diagnostics
        return f"{diagnostic.code} {diagnostic.message}"
    return ""


def test_the_run_is_in_the_middle_of_an_epoch(interrupted, tmp_path):
    assert outcome(interrupted, tmp_path / "run", ["version"], "0") == ""
    with safe_open(interrupted / "run" / "last.safetensors", "pt") as file:
        progress = json.loads(file.metadata()[METADATA_KEY])["progress"]
    assert progress["epoch"]
    assert progress["batch"]


@pytest.mark.parametrize("field", CONFIG)
def test_settings_of_a_checkpoint_are_refused_by_name_or_worked_with(interrupted, tmp_path, field):
    outcomes = [outcome(interrupted, tmp_path / "run", ["config", field], n) for n in NUMBERS]
    refused = [text for text in outcomes if text and "RNN640" not in text]
    assert len(refused) >= 4
    # Batches of another size are other batches than those that were done.
    named = rf"RNN631 .*(\$\.config\.{field}{'|and the data make' * (field == 'batch_size')})"
    assert all(re.match(named, text) for text in refused)


@pytest.mark.parametrize("field", PROGRESS)
def test_progress_that_cannot_be_is_refused_or_worked_with(interrupted, tmp_path, field):
    outcomes = [outcome(interrupted, tmp_path / "run", ["progress", field], n) for n in NUMBERS]
    refused = [text for text in outcomes if text]
    assert refused or field in {"loss_sum", "best", "last"}
    named = rf"RNN631 .*(\$\.progress|\b{field}\b|\d batches of an epoch)"
    assert all(re.match(named, text) for text in refused)


def test_more_batches_than_the_data_make_are_refused(interrupted, tmp_path):
    message = outcome(interrupted, tmp_path / "run", ["progress", "batch"], 2)
    assert message == "" or "batches of an epoch" in message
    header = {"epoch": 1, "batch": 10**9, "step": 10**10, "loss_steps": 7, "best": 1.0}
    header |= {"best_epoch": 1, "last": 1.0}
    message = outcome(interrupted, tmp_path / "run", ["progress"], header)
    assert re.match(
        r"RNN631 .* has done 1000000000 batches of an epoch, and the data make", message
    )


@pytest.mark.parametrize(
    "keys", [["format"], ["task", "options", "length"], ["program", "parameters", "hidden"]]
)
def test_other_numbers_of_a_header_are_refused(interrupted, tmp_path, keys):
    for number in NUMBERS:
        message = outcome(interrupted, tmp_path / "run", keys, number)
        assert re.match(r"RNN63[12]|RNN216", message), number


@pytest.mark.parametrize("field", CONFIG)
def test_the_ends_of_each_range_work_and_what_is_beyond_is_refused(tmp_path, field):
    (flag, _, read, _) = next(entry for entry in FLAGS if entry[1] == field)
    sgd = {"optimizer": "sgd"} if field == "momentum" else {}
    refused = []
    for number in NUMBERS:
        try:
            value = read(str(number))
        except click.BadParameter as error:
            refused.append((number, str(error)))
            continue
        with contextlib.suppress(InterruptedTrainingError, RnnError):
            run_to_end(
                start_small_training(
                    tmp_path / str(number),
                    interrupt_handler=InterruptAfter(3),
                    **{field: value, **sgd},
                )
            )
    assert 0 < len(refused) < len(NUMBERS), flag
    for number, message in refused:
        assert re.search(
            rf"expected .* (to|at most|below) .*, got `{re.escape(str(number))}`", message
        )


@pytest.mark.parametrize(
    ("task", "option"), [(task.name, name) for task in all_tasks() for name in task.options]
)
@pytest.mark.parametrize("number", [-1, 10**9, 2**31, 2**63])
def test_options_of_tasks_have_a_range(tmp_path, monkeypatch, task, option, number):
    if (option, number) == ("seed", 10**9):
        return
    monkeypatch.chdir(tmp_path)
    Path("s.rnn").write_text(SPEC, encoding="utf-8")
    command = ["train", "s.rnn", "--task", task, "--task-set", f"{option}={number}"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    words = " ".join(result.output.split())
    assert re.search(r"expected (name=)?(an )?integer", words)
    assert option in words or "name=integer" in words


@pytest.mark.parametrize("flag", ["--steps", "--rows", "--repeat", "--threads"])
@pytest.mark.parametrize("number", [0, -1, 10**9, 2**63, 10**30])
def test_flags_of_bench_have_a_range(flag, number):
    result = CliRunner().invoke(main, ["bench", "zoo:rnn", "--times-only", flag, str(number)])
    assert result.exit_code == 2
    assert re.search(rf"'{flag}': {number} is not in the range", " ".join(result.output.split()))


@pytest.mark.parametrize("number", [10**9, 2**63 - 1, 2**63, 10**30, 10**300, -(10**30), 1e300])
@pytest.mark.parametrize(
    "spec", ["zoo:lstm --set hidden", "zoo:srnn --set layers", "zoo:awd_lstm --set rate"]
)
@pytest.mark.parametrize("command", ["check", "inspect", "graph"])
def test_parameters_of_a_spec_have_a_range(command, spec, number):
    result = CliRunner().invoke(main, [command, *f"{spec}={number}".split()])
    assert result.exit_code == 1
    assert "RNN901" not in result.output
    assert re.search(r"error\[RNN[1-4]", result.output)
