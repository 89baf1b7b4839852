"""Tasks on piano-rolls: predict the next frame's 88 keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rnnc.operators.graph.types import Type

from .task import Problem, PublishedResult, Split, Task

if TYPE_CHECKING:
    from rnnc.runtime.data.examples import Example

KEYS: Final = 88

PASCANU_TABLE: Final = "Pascanu et al. 2014 (arXiv 1312.6026), Table 2"
NOT_VERIFIED: Final = "quoted; not compared with the paper's own page"
VERIFIED_SECOND_HAND: Final = (
    "agrees to two decimals with Gulcehre et al. 2014 (arXiv 1311.1780), Table 4, which quotes it"
)


def pascanu_results(
    rnn: float, dts: float, dots: float, srnn: float
) -> tuple[PublishedResult, ...]:
    """Return the four independent-output rows of a data set in Pascanu et al. 2014, Table 2."""
    return (
        PublishedResult("RNN", rnn, PASCANU_TABLE, NOT_VERIFIED),
        PublishedResult("DT(S)-RNN", dts, PASCANU_TABLE, NOT_VERIFIED),
        PublishedResult("DOT(S)-RNN", dots, PASCANU_TABLE, VERIFIED_SECOND_HAND),
        PublishedResult("sRNN, 2 layers", srnn, PASCANU_TABLE, NOT_VERIFIED),
    )


def polyphonic_task(
    name: str,
    title: str,
    file: str,
    published: tuple[PublishedResult, ...],
    settings: Mapping[str, int | float | None] | None = None,
) -> Task:
    """Make the task on one piano-roll data set of Boulanger-Lewandowski et al. 2012."""

    def problem(options: Mapping[str, int], folder: Path | None) -> Problem:
        from rnnc.runtime.data.location import find_data

        return open_piano_rolls(find_data(file, folder))

    return Task(
        name=name,
        summary=f"{title}: predict the next frame of a piano-roll",
        needs=f"an input `binary[{KEYS}]` and its prediction (x' = ▷ …)",
        metrics=("nll",),
        baseline="one Bernoulli a key, frequencies of the train split, add-1 smoothing",
        open=problem,
        file=file,
        settings=settings or {},
        published=published,
    )


def open_piano_rolls(path: Path) -> Problem:
    """Make next-frame prediction on one piano-roll file."""
    from rnnc.runtime.data.piano_roll import read_rolls

    def load(split: Split) -> Sequence[Example]:
        import torch

        from rnnc.runtime.data.examples import Example

        frames = (torch.from_numpy(roll).float() for roll in read_rolls(path, split))
        return [Example(roll, roll) for roll in frames]

    def baseline(split: Split) -> float:
        import numpy as np

        train, scored = (np.concatenate(read_rolls(path, which)) for which in ("train", split))
        p = (train.sum(axis=0) + 1) / (len(train) + 2)
        frequency = scored.mean(axis=0)
        return float(-(frequency * np.log(p) + (1 - frequency) * np.log1p(-p)).sum())

    keys = Type("binary", KEYS)
    return Problem(
        input=keys,
        target=keys,
        target_timing="next input",
        load_split=load,
        baseline=baseline,
        parameters={"keys": KEYS},
    )
