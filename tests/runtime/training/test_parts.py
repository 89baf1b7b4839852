"""Weight noise, the learning rate schedule, early stopping, flags."""

from __future__ import annotations

import click
import msgspec
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rnnc.runtime.atomic_write import write_atomically
from rnnc.runtime.training.lr_schedule import learning_rate
from rnnc.runtime.training.run_state.progress import (
    Progress,
    advance_batch,
    advance_epoch,
    stop_reason,
)
from rnnc.runtime.training.settings.command_flags import build_config, training_options
from rnnc.runtime.training.settings.training_config import TrainingConfig
from rnnc.runtime.training.weight_noise import add_weight_noise


def test_noise_is_on_trainable_matrices_alone_and_goes_away_bit_for_bit():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(300, 200), nn.Linear(200, 3))
    model[1].weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with add_weight_noise(model, 0.075):
        noise = model[0].weight - before["0.weight"]
        assert noise.std().item() == pytest.approx(0.075, rel=0.02)
        assert abs(noise.mean().item()) < 0.001
        for name in ("0.bias", "1.weight", "1.bias"):
            assert torch.equal(model.state_dict()[name], before[name])
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)


def test_the_gradient_is_that_of_the_noisy_weights():
    model = nn.Linear(1, 1, bias=False)
    torch.manual_seed(1)
    with add_weight_noise(model, 0.5):
        moved = model.weight.detach().clone()
        model(torch.ones(1, 1)).square().sum().backward()
    assert torch.equal(model.weight.grad, 2 * moved)
    assert not torch.equal(model.weight, moved)


def test_noise_goes_away_after_an_error_too():
    model = nn.Linear(3, 3)
    before = model.weight.detach().clone()
    with pytest.raises(RuntimeError, match="inside"), add_weight_noise(model, 1.0):
        raise RuntimeError("inside")
    assert torch.equal(model.weight, before)


def test_the_rate_is_that_of_the_paper():
    assert learning_rate(0.1, None, 10, 1000) == 0.1
    assert learning_rate(0.1, 100.0, None, 1000) == 0.1
    assert learning_rate(0.1, 100.0, 10, 10) == 0.1
    assert learning_rate(0.1, 100.0, 10, 110) == pytest.approx(0.05)
    assert learning_rate(0.1, 100.0, 10, 310) == pytest.approx(0.025)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.integers(1, 5))
def test_training_stops_after_patience_epochs_without_a_better_one(values, patience):
    config = TrainingConfig(epochs=1000, patience=patience)
    progress = Progress()
    for done, value in enumerate(values, 1):
        if stop_reason(config, progress) is not None:
            assert min(values[: done - 1]) == min(values[: done - 1 - patience])
            break
        progress = advance_epoch(advance_batch(progress, 1.0, 2), value)
        seen = values[:done]
        assert progress.best == min(seen)
        assert progress.best_epoch == seen.index(min(seen)) + 1
        rises = [i + 1 for i in range(1, done) if seen[i] > seen[i - 1]]
        assert progress.decaying_since == (rises[0] if rises else None)
        assert (progress.epoch, progress.step, progress.batch) == (done, done, 0)


def test_all_epochs_are_enough():
    def after(epoch: int, best_epoch: int) -> Progress:
        return Progress(epoch=epoch, best=1.0, best_epoch=best_epoch, last=1.0)

    assert stop_reason(TrainingConfig(epochs=2), after(1, 1)) is None
    assert stop_reason(TrainingConfig(epochs=2), after(2, 2))
    never = TrainingConfig(epochs=99, patience=None)
    assert stop_reason(never, after(98, 1)) is None


def test_the_epochs_loss_weighs_steps():
    progress = advance_batch(advance_batch(Progress(), 1.0, 10), 4.0, 30)
    assert progress.loss_sum / progress.loss_steps == pytest.approx(130 / 40)
    assert advance_epoch(progress, 1.0).loss_steps == 0


def parsed(*arguments: str) -> TrainingConfig | str:
    """Parse flags to a configuration, or to click's error."""
    configs: list[TrainingConfig] = []

    @click.command()
    @training_options
    def command(**options: object) -> None:
        configs.append(build_config({"learning_rate": 0.5, "patience": None}, options))

    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == (0 if configs else 2), result.output
    return configs[0] if configs else result.output


def test_flags_come_before_the_tasks_settings_and_those_before_the_defaults():
    assert parsed() == TrainingConfig(learning_rate=0.5, patience=None)
    config = parsed("--lr", "0.25", "--patience", "3", "--clip", "off", "--decay", "7")
    assert config == TrainingConfig(learning_rate=0.25, patience=3, clip=None, decay=7.0)
    sgd = parsed("--optimizer", "sgd", "--momentum", "0.9", "--weight-noise", "0.1")
    assert isinstance(sgd, TrainingConfig)
    assert (sgd.optimizer, sgd.momentum, sgd.weight_noise) == ("sgd", 0.9, 0.1)


@pytest.mark.parametrize("flag", ["--lr", "--clip", "--decay"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0", "-1", "1e999", "x", "", "0x1", "1_"])
def test_nonsense_reals_are_wrong_usage(flag, value):
    assert f"'{flag}': expected a finite number above 0" in str(parsed(f"{flag}={value}"))


@pytest.mark.parametrize("flag", ["--epochs", "--batch-size", "--patience"])
@pytest.mark.parametrize("value", ["nan", "0", "-1", "1.5", "1e3", "x", "", str(2**63), "9" * 5000])
def test_nonsense_integers_are_wrong_usage(flag, value):
    assert f"'{flag}': expected an integer from 1 to" in str(parsed(f"{flag}={value}"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--momentum", "1", "--optimizer", "sgd"], "at least 0 and below 1"),
        (["--momentum", "0.5"], "--momentum is for --optimizer sgd"),
        (["--weight-noise", "-0.1"], "at least 0 and at most 1e+06, got `-0.1`"),
        (["--seed", "-1"], "an integer from 0"),
        (["--lr", "off"], "above 0 and at most 1e+06, got `off`"),
        (["--optimizer", "lbfgs"], "'lbfgs' is not one of"),
    ],
)
def test_other_nonsense_is_wrong_usage(arguments, words):
    assert words in str(parsed(*arguments))


@pytest.mark.parametrize(
    "stored",
    [{"epochs": 0}, {"learning_rate": -1}, {"clip": 0}, {"lr": 1}, {"seed": -1}, {"epochs": "9"}],
)
def test_a_stored_configuration_is_checked_like_flags(stored):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(stored, TrainingConfig)


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr("os.fsync", lambda number: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path, monkeypatch):
    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    path = tmp_path / "last.safetensors"
    path.write_bytes(b"before")
    with pytest.raises(OSError, match=r"No space left on device: .*last\.safetensors"):
        write_atomically(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
