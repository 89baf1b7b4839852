"""Piano-roll tasks: the convention of published results, on small and real data."""

from __future__ import annotations

import numpy as np
import pytest

from rnnc.runtime.data.piano_roll import read_rolls
from rnnc.runtime.tasks import find_task
from rnnc.runtime.tasks.polyphonic import open_piano_rolls
from support.training.piano_rolls import small_rolls, write_rolls
from support.training.real_data import real_data

# NOTE 1-GRAM of Boulanger-Lewandowski et al. 2012, table 1.
BASELINES = {"jsb": 11.06, "nottingham": 10.25, "musedata": 11.51, "piano_midi": 11.05}
COUNTS = {
    "jsb": (229, 76, 77),
    "nottingham": (694, 173, 170),
    "musedata": (524, 135, 124),
    "piano_midi": (87, 12, 25),
}


def test_the_frames_are_inputs_and_targets_and_the_first_one_counts(tmp_path):
    path = write_rolls(tmp_path / "rolls.npz")
    examples = open_piano_rolls(path).load_split("valid")
    for example, roll in zip(examples, read_rolls(path, "valid"), strict=True):
        assert np.array_equal(example.target.numpy(), roll)
        assert np.array_equal(example.inputs.numpy(), roll)


def test_the_baseline_is_one_bernoulli_a_key_with_add_one_smoothing(tmp_path):
    arrays = small_rolls(seed=5)
    problem = open_piano_rolls(write_rolls(tmp_path / "rolls.npz", arrays))
    train = np.unpackbits(arrays["train_notes"], axis=1)
    total = 0.0
    frames = np.unpackbits(arrays["test_notes"], axis=1)
    for frame in frames:
        for key in range(88):
            p = (int(train[:, key].sum()) + 1) / (len(train) + 2)
            total -= np.log(p if frame[key] else 1 - p)
    assert problem.baseline("test") == pytest.approx(total / len(frames), rel=1e-12)
    assert problem.baseline("train") != problem.baseline("test")


@pytest.mark.parametrize("name", BASELINES)
def test_the_baselines_of_the_real_sets_are_the_published_ones(name):
    task = find_task(name)
    problem = task.open({}, real_data(task.file))
    assert problem.baseline("test") == pytest.approx(BASELINES[name], abs=0.005)
    for split, count in zip(("train", "valid", "test"), COUNTS[name], strict=True):
        assert len(problem.load_split(split)) == count
