"""Compare the ATen backend with the reference: values, states, laws and all gradients."""

from __future__ import annotations

from typing import Any

import pytest

from rnnc.operators.sources.zoo import ZOO
from support.comparison.agreement import assert_agree
from support.generator import random_spec

SHIPPED = sorted(path.stem for path in ZOO.glob("*.rnn"))
CALLS: dict[str, dict[str, Any]] = {
    "plain": {"steps": 5, "rows": 3},
    "one row, one step": {"steps": 1, "rows": 1},
    "everything": {"steps": 7, "rows": 3, "ragged": True, "reset": True, "carry": True},
    "ragged": {"steps": 4, "rows": 3, "ragged": True},
    "evaluation": {"steps": 3, "rows": 2, "carry": True, "training": False},
    "no steps": {"steps": 0, "rows": 2, "carry": True},
    "no rows": {"steps": 3, "rows": 0},
}


@pytest.mark.parametrize("seed", range(60))
def test_random_specs_agree_with_the_reference(seed: int) -> None:
    spec = random_spec(seed)
    names = list(CALLS)
    for name in ("everything", names[seed % len(names)]):
        assert_agree(spec.text, sizes=spec.sizes, seed=seed, **CALLS[name])


@pytest.mark.parametrize("name", SHIPPED)
def test_the_zoo_agrees_with_the_reference(name: str) -> None:
    assert_agree(f"zoo:{name}", "auto", seed=1, **CALLS["everything"])


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("seed", [61, 62, 63])
def test_every_kind_of_call_agrees(seed: int, call: str) -> None:
    spec = random_spec(seed)
    assert_agree(spec.text, sizes=spec.sizes, seed=seed, **CALLS[call])
