"""Batches: every sequence once, of similar length, the same for a seed."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from rnnc.runtime.data.batches import shuffle_by_length, sort_by_length
from rnnc.runtime.data.examples import NO_SYMBOL, Example, collate

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=60)
SIZES = st.integers(1, 20)
SEEDS = st.integers(0, 2**63 - 1)


@given(lengths=LENGTHS, size=SIZES, seed=SEEDS, epoch=st.integers(0, 10**6))
def test_every_sequence_comes_exactly_once_in_full_batches(lengths, size, seed, epoch):
    batches = shuffle_by_length(lengths, size, seed=seed, epoch=epoch)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert sorted(map(len, batches))[1:] == [size] * (len(batches) - 1)
    assert batches == shuffle_by_length(lengths, size, seed=seed, epoch=epoch)


def test_epochs_and_seeds_differ():
    lengths = list(range(10, 200))
    first = shuffle_by_length(lengths, 8, seed=1, epoch=0)
    assert first != shuffle_by_length(lengths, 8, seed=1, epoch=1)
    assert first != shuffle_by_length(lengths, 8, seed=2, epoch=0)
    # Not the order of the batches alone: who is with whom changes too.
    groups = {frozenset(batch) for batch in first}
    assert groups != {frozenset(batch) for batch in shuffle_by_length(lengths, 8, seed=1, epoch=1)}


@given(lengths=LENGTHS, size=SIZES, seed=SEEDS)
def test_a_batch_pads_little(lengths, size, seed):
    """Within a batch no length exceeds another by more than the jitter allows."""
    for batch in shuffle_by_length(lengths, size, seed=seed, epoch=0):
        longest, shortest = max(lengths[i] for i in batch), min(lengths[i] for i in batch)
        between = [n for n in lengths if shortest * 1.2 < n < longest / 1.2]
        assert len(between) <= len(batch)


@given(lengths=LENGTHS, size=SIZES)
def test_evaluation_goes_by_length(lengths, size):
    batches = sort_by_length(lengths, size)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert [lengths[i] for batch in batches for i in batch] == sorted(lengths)


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_collating_pads_and_loses_nothing(lengths, seed):
    torch.manual_seed(seed)
    examples = [Example(torch.rand(n, 3), torch.rand(n, 3)) for n in lengths]
    batch = collate(examples)
    assert batch.lengths.tolist() == lengths
    assert batch.inputs.shape == batch.target.shape == (max(lengths), len(lengths), 3)
    for row, (n, example) in enumerate(zip(lengths, examples, strict=True)):
        assert torch.equal(batch.inputs[:n, row], example.inputs)
        assert torch.equal(batch.target[:n, row], example.target)
        assert not batch.inputs[n:, row].any()


def test_symbols_are_padded_with_no_symbol():
    lines = torch.tensor([4, 5, 6]), torch.tensor([7])
    batch = collate([Example(line, line) for line in lines])
    assert batch.inputs.tolist() == [[4, 7], [5, NO_SYMBOL], [6, NO_SYMBOL]]
    assert batch.target.tolist() == [[4, 7], [5, 0], [6, 0]]


def test_answers_at_the_end_are_stacked():
    examples = [Example(torch.rand(n, 2), torch.rand(1)) for n in (3, 5)]
    batch = collate(examples, at_end=True)
    assert batch.target.shape == (2, 1)
    assert batch.lengths.tolist() == [3, 5]
