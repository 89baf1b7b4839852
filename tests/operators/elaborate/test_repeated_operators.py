"""Operators in a loop: each iteration defines one of its own."""

from __future__ import annotations

import torch

import rnnc


def test_a_loop_writes_a_new_body_each_round():
    text = """
    input x: real[2]
    output y, z: real[2]
    for l in 1..2:
        operator x ⊗_l h = l * h + x
    y = x ⊗₁ x
    z = x ⊗₂ x
    """
    y, z = rnnc.compile(text, backend="reference")(torch.ones(1, 1, 2))[0]
    assert (y.unique().tolist(), z.unique().tolist()) == ([2.0], [3.0])


def test_parameters_are_named_by_their_own_round():
    text = """
    model m(layers = 3):
        input x: real[2]
        state h_1, h_2, h_3: real[2]
        for l in 1..layers:
            operator x ⊗_l h:
                param V_l: normal(0.1), frozen
                for k in 1..l:
                    z_k = W_{k + l} h
                tanh(z_l + V_l x)
            h_l' = x ⊗_l h_l
        x' = h_3'
    """
    model = rnnc.compile(text)
    names = {name for name in model.state_dict() if name.startswith("times_")}
    assert names == {f"times_{k}.{m}" for k in (1, 2, 3) for m in (f"V_{k}", f"W_{2 * k}")}
    assert not any(p.requires_grad for n, p in model.named_parameters() if ".V_" in n)


def test_equal_rounds_stay_one_definition_each_with_its_own_parameters():
    text = """
    input x: real[2]
    output y, z: real[2]
    for l in 1..2:
        operator x ⊗_l h = tanh(W h + x)
    y = x ⊗₁ x
    z = x ⊗₂ (x ⊗₂ x)
    """
    assert set(rnnc.compile(text).state_dict()) == {"times_1.W", "times_2.W"}
