"""The adding problem: its definition, and three independent streams."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rnnc.runtime.tasks.adding import TASK, generate_split


@given(length=st.integers(2, 40), count=st.integers(1, 20), seed=st.integers(0, 2**31 - 1))
def test_two_marks_one_in_each_half_and_their_sum(length, count, seed):
    examples = generate_split(length, count, seed, "train")
    assert len(examples) == count
    for example in examples:
        values, marks = example.inputs.unbind(-1)
        assert values.shape == marks.shape == (length,)
        assert ((values >= 0) & (values < 1)).all()
        assert sorted(marks.unique().tolist()) in ([0, 1], [1])
        assert marks[: length // 2].sum() == marks[length // 2 :].sum() == 1
        assert example.target.shape == (1,)
        assert example.target.item() == (values * marks).sum().item()


def test_the_same_seed_gives_the_same_data_and_splits_are_independent():
    def values(seed: int, split: str) -> torch.Tensor:
        return torch.stack([example.inputs for example in generate_split(9, 6, seed, split)])

    assert torch.equal(values(1, "train"), values(1, "train"))
    seen = [values(seed, split) for seed in (1, 2) for split in ("train", "valid", "test")]
    assert all(not torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i])
    # A larger split does not repeat what another split holds.
    assert not set(seen[0][..., 0].flatten().tolist()) & set(seen[1][..., 0].flatten().tolist())


def test_the_baseline_is_the_variance_of_the_sum():
    options = TASK.resolve_options({"train": 20000, "test": 20000})
    assert TASK.open(options, None).baseline("test") == pytest.approx(1 / 6, rel=0.03)


def test_options_are_checked():
    assert TASK.resolve_options({"length": 200})["length"] == 200
    for given_, words in [
        ({"lenght": 3}, "no option `lenght`; its options: length"),
        ({"length": 1}, "integer from 2 to 100,000 for the option `length` .* got 1"),
        ({"length": 2.5}, "got 2.5"),
        ({"train": 2**31}, "got 2147483648"),
    ]:
        with pytest.raises(ValueError, match=words):
            TASK.resolve_options(given_)
