"""Before the first step a state that runs backward is its initial value, whoever runs the model."""

from __future__ import annotations

import pytest
import torch

import rnnc
from support.cases import assert_case
from support.generator.calls import Calling

PASTS = {
    "output": "k' = 0.5 * k[t+1] + U s\nrest = k[t-3]",
    "state": "k' = 0.5 * k[t+1] + U s\nh' = tanh(W k[t-2] + V h)\nrest = h'",
    "window": "k' = 0.5 * k[t+1] + U s\nM = k[t-2..t+1]\nrest = Mᵀ softmax(M s)",
    "law": "k' = 0.5 * k[t+1] + U s\nlaw A k[t-1] ≈ k'\nrest = k'",
}
HEAD = "input s: real[2]\nstate k: real[2] = 1.5\noutput rest: real[2]\n"


@pytest.mark.parametrize("name", PASTS)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_it_is_the_initial_value(name: str, steps: int) -> None:
    text = HEAD + ("state h: real[2]\n" if name == "state" else "") + PASTS[name] + "\n"
    for calling in (Calling(steps=steps), Calling(steps=steps, lengths="ragged", resets="some")):
        assert_case(text, calling, "auto")
        assert_case(text, calling, "oracle")


def test_what_cannot_run_says_why() -> None:
    text = HEAD + PASTS["output"] + "\n"
    assert rnnc.compile(text, backend="auto").backend == "reference"
    with pytest.raises(rnnc.RnnError, match="no past of `k`, which runs backward"):
        rnnc.compile(text, backend="aten")
    model = rnnc.compile(text).double()
    y, _ = model(torch.zeros(1, 1, 2, dtype=torch.float64))
    assert y.tolist() == [[[1.5, 1.5]]]
