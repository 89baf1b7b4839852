"""Check that elementwise functions write all of a strided `out` and nothing beside it."""

from __future__ import annotations

import pytest
import torch

from rnnc.compiler.backends.aten.op_table import ELEMENTWISE_FUNCTIONS


def count(operation: str) -> int | None:
    """How many operands an operation takes, found by trying."""
    for number in (1, 2, 3):
        operands = [torch.rand(2, 3) + 0.5 for _ in range(number)]
        for mask in (False, True):
            first = [operands[0] > 1, *operands[1:]] if mask else operands
            try:
                ELEMENTWISE_FUNCTIONS[operation](*first, out=torch.empty(2, 3))
            except (TypeError, RuntimeError, IndexError):
                continue
            return -number if mask else number
    return None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("operation", sorted(ELEMENTWISE_FUNCTIONS))
def test_a_strided_tensor_is_written(operation: str, dtype: torch.dtype) -> None:
    number = count(operation)
    assert number is not None
    operands = [torch.rand(2, 3, dtype=dtype) + 0.5 for _ in range(abs(number))]
    if number < 0:
        operands[0] = operands[0] > 1
    contiguous = torch.full((2, 3), float("nan"), dtype=dtype)
    ELEMENTWISE_FUNCTIONS[operation](*operands, out=contiguous)
    wide = torch.full((2, 5), 7.0, dtype=dtype)
    wide[:, 1:4] = float("nan")
    ELEMENTWISE_FUNCTIONS[operation](*operands, out=wide[:, 1:4])
    assert torch.equal(wide[:, 1:4], contiguous)
    assert wide[:, 0].eq(7).all()
    assert wide[:, 4].eq(7).all()
    assert contiguous.isfinite().all()


def test_what_torch_leaves_unwritten_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(z: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        return out.copy_(z) if out.is_contiguous() else out

    monkeypatch.setitem(ELEMENTWISE_FUNCTIONS, "tanh", forgetful)
    with pytest.raises(AssertionError):
        test_a_strided_tensor_is_written("tanh", torch.float32)
