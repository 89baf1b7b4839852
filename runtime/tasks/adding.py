"""The adding problem: output the sum of two marked numbers of a long sequence.

Hochreiter & Schmidhuber 1997 (Long Short-Term Memory, experiment 4), in the form of Arjovsky, Shah
& Bengio 2016 (arXiv 1511.06464, section 4.2): each step has a value uniform in [0, 1] and a marker,
which is 1 at one step of either half and 0 elsewhere; the target at the end is the sum of the two
marked values. A constant output of 1 has the squared error 1/6, the variance of that sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rnnc.operators.graph.types import Type

from .task import SPLITS, Problem, Split, Task, TaskOption

if TYPE_CHECKING:
    from rnnc.runtime.data.examples import Example

OPTIONS: Final = {
    "length": TaskOption(50, 2, 100_000, "steps of a sequence"),
    "train": TaskOption(5000, 1, 10_000_000, "sequences of the train split"),
    "valid": TaskOption(1000, 1, 10_000_000, "sequences of the valid split"),
    "test": TaskOption(5000, 1, 10_000_000, "sequences of the test split"),
    "seed": TaskOption(0, 0, 2**31 - 1, "seed of the data"),
}


def open_adding(options: Mapping[str, int], folder: Path | None = None) -> Problem:
    """Make the problem from all of OPTIONS; it needs no data folder."""

    def load(split: Split) -> Sequence[Example]:
        return generate_split(options["length"], options[split], options["seed"], split)

    def baseline(split: Split) -> float:
        import torch

        train, scored = (
            torch.stack([example.target for example in load(which)]).double()
            for which in ("train", split)
        )
        return float((scored - train.mean()).square().mean())

    return Problem(
        input=Type("real", 2),
        target=Type("real", 1),
        target_timing="at end",
        load_split=load,
        baseline=baseline,
    )


def generate_split(length: int, count: int, seed: int, split: Split) -> list[Example]:
    """Generate `count` examples: inputs (length, 2) of values and markers, target (1,).

    The three splits of a seed are independent streams.
    """
    import numpy as np
    import torch

    from rnnc.runtime.data.examples import Example

    random = np.random.default_rng((seed, SPLITS.index(split)))
    half = length // 2
    values = random.random((count, length), dtype=np.float32)
    first = random.integers(0, half, count)
    second = random.integers(half, length, count)
    rows = np.arange(count)
    markers = np.zeros_like(values)
    markers[rows, first] = 1
    markers[rows, second] = 1
    inputs = torch.from_numpy(np.stack([values, markers], axis=-1))
    target = torch.from_numpy((values[rows, first] + values[rows, second])[:, None])
    return [Example(x, y) for x, y in zip(inputs, target, strict=True)]


TASK = Task(
    name="adding",
    summary="the adding problem: the sum of two marked numbers of a sequence; needs no data",
    needs="an input `real[2]` (a value and a marker) and an output `real at end`",
    metrics=("squared_error",),
    baseline="the mean of the train split's answers, whatever the input",
    open=open_adding,
    options=OPTIONS,
    settings={"epochs": 20, "learning_rate": 5e-3, "batch_size": 50, "patience": None},
)
