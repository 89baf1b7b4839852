"""The training loop: learning, early stopping, best weights, bit-exact resumption."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.operators.graph.types import Type
from rnnc.runtime.data.examples import Example
from rnnc.runtime.tasks.task import Problem, Task
from rnnc.runtime.training.evaluation import evaluate
from rnnc.runtime.training.interrupt import InterruptedTrainingError
from rnnc.runtime.training.loop import TrainingSession
from rnnc.runtime.training.run_state.checkpoint import read_checkpoint
from rnnc.runtime.training.session import load_trained, resume_training
from support.training.small_runs import (
    ADDING,
    CHORALES,
    RANDOM_CHORALES,
    InterruptAfter,
    have_equal_tensors,
    run_to_end,
    start_small_training,
)

NOISY = {"weight_noise": 0.05, "decay": 4.0, "seed": 7}


def records(folder: Path) -> list[dict[str, object]]:
    """Read the metrics file, without times."""
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def go_on(folder: Path, questions: int | None = None, **changes: int | None) -> TrainingSession:
    return resume_training(
        folder / "run", changes, data=folder / "data", interrupt_handler=InterruptAfter(questions)
    )


def test_training_lowers_the_loss_and_writes_a_line_an_epoch(tmp_path):
    progress = run_to_end(start_small_training(tmp_path, epochs=12))
    lines = records(tmp_path)
    assert [line["epoch"] for line in lines] == list(range(1, 13))
    assert [line["step"] for line in lines] == [3 * epoch for epoch in range(1, 13)]
    assert lines[-1]["train"]["loss"] < lines[0]["train"]["loss"] / 2
    assert lines[-1]["valid"]["nll"] < lines[0]["valid"]["nll"]
    assert progress.best == min(line["valid"]["nll"] for line in lines)


def test_an_answer_at_the_end_is_learned_too(tmp_path):
    few = {"length": 4, "train": 200, "valid": 50, "test": 50}
    run_to_end(start_small_training(tmp_path, ADDING, "adding", options=few, epochs=8))
    lines = records(tmp_path)
    assert lines[-1]["valid"]["squared_error"] < lines[0]["valid"]["squared_error"]


@pytest.mark.parametrize(("spec", "task"), [(CHORALES, "jsb"), (ADDING, "adding")])
def test_what_is_not_scored_changes_no_score(tmp_path, spec, task):
    """An output more, to look at; of a prediction `loss` lines may read the target as well."""
    with_output = f"output look: real[6] unscored\n{spec}look = h' ⊙ h'\n"
    options = {"length": 4, "train": 20, "valid": 10, "test": 10} if task == "adding" else {}
    for name, text in (("plain", spec), ("more", with_output)):
        run_to_end(start_small_training(tmp_path / name, text, task, options=options))
    assert records(tmp_path / "plain") == records(tmp_path / "more")
    if task == "jsb":
        run_to_end(
            start_small_training(tmp_path / "read", with_output + "loss sum(x') weight 0.5\n", task)
        )
        first, last = (records(tmp_path / name)[0] for name in ("plain", "read"))
        assert first["valid"] == last["valid"]
        assert first["train"] != last["train"]


def test_symbols_are_predicted_and_scored_in_nats_or_bits(tmp_path):
    """A sequence that counts 0, 1, 2, 0, … is learned to the last bit."""
    letters = Type("symbol", 3)
    line = torch.arange(7) % 3
    count = [Example(line, line)] * 3
    problem = Problem(letters, letters, "next input", lambda split: count, lambda split: 0.0)
    symbol_task = Task(
        name="counting",
        summary="",
        needs="",
        metrics=("bits_per_character", "nll", "perplexity"),
        baseline="",
        open=lambda options, folder: problem,
    )
    spec = CHORALES.replace("binary[88]", "symbol[3]")
    training = start_small_training(tmp_path, spec, symbol_task, epochs=60, learning_rate=0.1)
    run_to_end(training)
    last = records(tmp_path)[-1]["valid"]
    assert last["bits_per_character"] < 0.1
    assert last["bits_per_character"] == pytest.approx(last["nll"] / math.log(2))
    assert last["perplexity"] == pytest.approx(math.exp(last["nll"]))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_best_weights_are_those_of_the_best_epoch(tmp_path, optimizer):
    """A rate so high that the last epoch is not the best one."""
    rate = 0.3 if optimizer == "adam" else 3.0
    progress = run_to_end(
        start_small_training(
            tmp_path, epochs=30, learning_rate=rate, patience=4, optimizer=optimizer
        )
    )
    assert progress.epoch == progress.best_epoch + 4 < 30
    model, task, problem, header = load_trained(tmp_path / "run", tmp_path / "data")
    assert header.progress.best_epoch == progress.best_epoch
    values = evaluate(model, problem, problem.load_split("valid"), task.metrics)
    assert values == records(tmp_path)[progress.best_epoch - 1]["valid"]


def test_the_same_seed_gives_the_same_bits_and_another_one_others(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run_to_end(
            start_small_training(tmp_path / name, RANDOM_CHORALES, **{**NOISY, "seed": seed})
        )
    last = {name: tmp_path / name / "run" / "last.safetensors" for name in "abc"}
    assert have_equal_tensors(last["a"], last["b"])
    assert not have_equal_tensors(last["a"], last["c"])


@pytest.fixture(scope="module", params=["adam", "sgd"])
def uninterrupted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A run of six epochs that nothing disturbed, and the settings it had.

    The rates are so high that the validation rises, and the learning rate falls.
    """
    folder = tmp_path_factory.mktemp("whole")
    rate = {"adam": 1.0, "sgd": 30.0}[request.param]
    with_optimizer = {**NOISY, "optimizer": request.param, "learning_rate": rate, "epochs": 6}
    if request.param == "sgd":
        with_optimizer |= {"momentum": 0.9}
    run_to_end(start_small_training(folder, RANDOM_CHORALES, **with_optimizer))
    assert len({record["learning_rate"] for record in records(folder)}) > 1
    return folder, with_optimizer


@settings(max_examples=12)
@given(first=st.integers(0, 23), second=st.integers(0, 23))
def test_an_interrupted_run_goes_on_bit_for_bit(uninterrupted, tmp_path_factory, first, second):
    """An epoch asks 3 + 1 times (batches, validation), so 0..23 are all places in six epochs."""
    whole, chosen = uninterrupted
    folder = tmp_path_factory.mktemp("parts")
    with pytest.raises(InterruptedTrainingError):
        run_to_end(
            start_small_training(
                folder, RANDOM_CHORALES, interrupt_handler=InterruptAfter(first), **chosen
            )
        )
    if second < 23 - first:
        with pytest.raises(InterruptedTrainingError):
            run_to_end(go_on(folder, second))
    torch.manual_seed(1234)
    run_to_end(go_on(folder))
    for name in ("last.safetensors", "best.safetensors"):
        assert have_equal_tensors(folder / "run" / name, whole / "run" / name)
    assert records(folder) == records(whole)


@pytest.mark.parametrize("forgotten", ["the generator", "the optimizer", "the place"])
def test_what_a_resumed_run_forgets_would_be_seen(uninterrupted, tmp_path, monkeypatch, forgotten):
    whole, chosen = uninterrupted
    with pytest.raises(InterruptedTrainingError):
        run_to_end(
            start_small_training(
                tmp_path, RANDOM_CHORALES, interrupt_handler=InterruptAfter(5), **chosen
            )
        )
    training = go_on(tmp_path)
    if forgotten == "the generator":
        torch.manual_seed(1234)
    elif forgotten == "the optimizer":
        training.optimizer.state.clear()
    else:
        place = msgspec.structs.replace(training.header.progress, batch=0)
        training = replace(
            training, header=msgspec.structs.replace(training.header, progress=place)
        )
    run_to_end(training)
    last = Path("run") / "last.safetensors"
    assert not have_equal_tensors(tmp_path / last, whole / last)


def test_more_epochs_go_on_as_if_there_had_been_more_from_the_start(tmp_path):
    for name, epochs in (("short", 2), ("long", 4)):
        run_to_end(start_small_training(tmp_path / name, RANDOM_CHORALES, epochs=epochs, **NOISY))
    run_to_end(go_on(tmp_path / "short", epochs=4))
    assert records(tmp_path / "short") == records(tmp_path / "long")
    last = Path("run") / "last.safetensors"
    assert have_equal_tensors(tmp_path / "short" / last, tmp_path / "long" / last)


def test_a_run_killed_between_two_writes_goes_on(tmp_path):
    """The best weights and the metrics of an epoch were written, its state was not."""
    run_to_end(start_small_training(tmp_path / "whole", RANDOM_CHORALES, **NOISY))
    with pytest.raises(InterruptedTrainingError):
        run_to_end(
            start_small_training(
                tmp_path / "cut", RANDOM_CHORALES, interrupt_handler=InterruptAfter(5), **NOISY
            )
        )
    with (tmp_path / "cut" / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "half a li')
    run_to_end(go_on(tmp_path / "cut"))
    assert records(tmp_path / "cut") == records(tmp_path / "whole")


def test_training_never_touches_the_test_split(tmp_path):
    splits = []

    def guarded(training: TrainingSession) -> TrainingSession:
        load = training.problem.load_split

        def watched(split):
            splits.append(split)
            assert split != "test", "training looked at the test split"
            return load(split)

        return replace(training, problem=replace(training.problem, load_split=watched))

    training = guarded(start_small_training(tmp_path))
    run_to_end(training)
    assert "test" not in splits
    with pytest.raises(AssertionError, match="looked at the test split"):
        training.problem.load_split("test")


def test_training_works_where_the_test_split_is_broken(tmp_path, monkeypatch):
    """The whole way, from the file on: a test split that cannot be read stops nobody."""
    from support.training import small_runs as small
    from support.training.piano_rolls import small_rolls, write_rolls

    arrays = small_rolls()
    arrays["test_notes"] = arrays["test_notes"][:-1]
    write_rolls(tmp_path / "broken" / "polyphonic" / "jsb_chorales.npz", arrays)
    monkeypatch.setattr(small, "small_data", lambda folder: tmp_path / "broken")
    run_to_end(start_small_training(tmp_path))
    problem = load_trained(tmp_path / "run", tmp_path / "broken")[2]
    with pytest.raises(RnnError, match="`test_lengths` adds up to"):
        problem.load_split("test")


@pytest.mark.parametrize("where", ["loss", "gradient", "validation"])
def test_what_is_not_finite_stops_training_and_keeps_the_best(tmp_path, monkeypatch, where):
    training = start_small_training(tmp_path, epochs=4, clip=None)
    step = training.optimizer.step

    def spoil(*arguments: object) -> None:
        step()
        if training.optimizer.state[weight]["step"] == (6 if where == "validation" else 4):
            with torch.no_grad():
                weight.fill_(torch.nan)

    weight = next(iter(training.model.parameters()))
    if where == "gradient":
        weight.register_hook(
            lambda gradient: gradient * torch.inf if training.optimizer.state else gradient
        )
    else:
        monkeypatch.setattr(training.optimizer, "step", spoil)
    with pytest.raises(RnnError) as caught:
        run_to_end(training)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "RNN640"
    messages = {"loss": "loss became nan", "gradient": "gradient is", "validation": "metric became"}
    assert messages[where] in diagnostic.message
    if where != "gradient":
        assert "of epoch 1, are kept" in diagnostic.hint
        header, weights = read_checkpoint(training.run.best_checkpoint)
        assert header.progress.best_epoch == 1
        assert all(tensor.isfinite().all() for tensor in weights.values())


def test_clipping_and_switching_it_off(tmp_path):
    norms = {}
    for clip in (0.01, None):
        training = start_small_training(
            tmp_path / str(clip), optimizer="sgd", learning_rate=1.0, clip=clip
        )
        before = [weight.detach().clone() for weight in training.model.parameters()]
        training = replace(training, interrupt_handler=InterruptAfter(1))
        with pytest.raises(InterruptedTrainingError):
            run_to_end(training)
        moved = [
            (weight - old).detach().flatten()
            for weight, old in zip(training.model.parameters(), before, strict=True)
        ]
        norms[clip] = torch.cat(moved).norm().item()
    assert norms[0.01] == pytest.approx(0.01, rel=1e-4)
    assert norms[None] > 1


def test_frozen_weights_do_not_move(tmp_path):
    frozen = CHORALES.replace(
        "h' =", "operator x ⊕ h:\n    param W: frozen\n    tanh(W h + U x)\n\nh' ="
    )
    training = start_small_training(tmp_path, frozen)
    names = [name for name, weight in training.model.named_parameters() if not weight.requires_grad]
    before = {name: tensor.clone() for name, tensor in training.model.state_dict().items()}
    run_to_end(training)
    after = training.model.state_dict()
    still = [name for name in before if torch.equal(before[name], after[name])]
    assert still == names == ["plus.W"]


def test_a_model_with_nothing_to_train_is_refused(tmp_path):
    bare = "input x: binary[88]\nstate h: real[88] = 0\nh' = 0.5 * h\nx' = h'\n"
    with pytest.raises(RnnError, match=r"RNN621.*no parameter"):
        start_small_training(tmp_path, bare)
