"""Check that wrong arguments raise ValueError with expected and got, before a call runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import rnnc
from rnnc.compiler.module.compiled_rnn import CompiledRNN

TEXT = """
input x: real[3]
input s: symbol[4]
state h: real[2]
output y: real[2]
h' = tanh(W h + U x[t-2] + E s[t-1])
y = h'
"""
MODEL = rnnc.compile(TEXT)
X, S = torch.zeros(5, 2, 3), torch.zeros(5, 2, dtype=torch.int64)
H, PX, PS = torch.zeros(2, 2), torch.zeros(2, 2, 3), torch.zeros(2, dtype=torch.int64)
LOOKING_AHEAD = rnnc.compile(
    "input x: real[3]\nstate g: real[2]\noutput y: real[2]\ng[t] = x ⊕ g[t+1]\ny = g'\n"
)

WRONG: dict[str, Callable[[CompiledRNN], Any]] = {
    "no tensor": lambda m: m(3),
    "a list of numbers": lambda m: m([1, 2]),
    "none": lambda m: m(None),
    "one input of two": lambda m: m(X),
    "three inputs": lambda m: m((X, S, S)),
    "unknown name": lambda m: m({"x": X, "z": S}),
    "a name too many": lambda m: m({"x": X, "s": S, "z": S}),
    "two axes": lambda m: m((X[0], S)),
    "four axes": lambda m: m((X[None], S)),
    "width": lambda m: m((X[..., :2], S)),
    "double": lambda m: m((X.double(), S)),
    "integers": lambda m: m((X.long(), S)),
    "half": lambda m: m((X.half(), S)),
    "complex": lambda m: m((X.to(torch.complex64), S)),
    "steps differ": lambda m: m((X, S[:4])),
    "rows differ": lambda m: m((X, S[:, :1])),
    "float symbols": lambda m: m((X, S.float())),
    "bool symbols": lambda m: m((X, S.bool())),
    "one-hot symbols": lambda m: m((X, torch.zeros(5, 2, 4))),
    "symbol too large": lambda m: m((X, S + 4)),
    "symbol too small": lambda m: m((X, S - 2)),
    "meta": lambda m: m((X.to("meta"), S)),
    "meta symbols": lambda m: m((X, S.to("meta"))),
    "meta resets": lambda m: m(
        (X, S), resets=torch.zeros(5, 2, dtype=torch.bool, device="meta")
    ),
    "meta state": lambda m: m((X, S), (H.to("meta"), PX, PS)),
    "nan lengths": lambda m: m((X, S), lengths=[float("nan"), 1.0]),
    "ragged lengths": lambda m: m((X, S), lengths=[[1], [2, 3]]),
    "huge lengths": lambda m: m((X, S), lengths=[2**70, 1]),
    "none in lengths": lambda m: m((X, S), lengths=[None, 1]),
    "meta lengths": lambda m: m((X, S), lengths=torch.tensor([1, 2], device="meta")),
    "sparse": lambda m: m((X.to_sparse(), S)),
    "nested": lambda m: m((torch.nested.nested_tensor([X[0], X[1]]), S)),
    "an array": lambda m: m((X.numpy(), S)),
    "lengths shape": lambda m: m((X, S), lengths=torch.tensor([1, 2, 3])),
    "lengths scalar": lambda m: m((X, S), lengths=3),
    "lengths float": lambda m: m((X, S), lengths=torch.tensor([1.0, 2.0])),
    "lengths bool": lambda m: m((X, S), lengths=torch.tensor([True, False])),
    "lengths text": lambda m: m((X, S), lengths="ab"),
    "lengths below": lambda m: m((X, S), lengths=torch.tensor([-1, 2])),
    "lengths beyond": lambda m: m((X, S), lengths=torch.tensor([1, 6])),
    "lengths complex": lambda m: m((X, S), lengths=torch.tensor([1j, 2])),
    "resets shape": lambda m: m((X, S), resets=torch.zeros(2, 5, dtype=torch.bool)),
    "resets int": lambda m: m((X, S), resets=torch.zeros(5, 2, dtype=torch.int64)),
    "resets list": lambda m: m((X, S), resets=[[False] * 2] * 5),
    "state width": lambda m: m((X, S), (torch.zeros(2, 3), PX, PS)),
    "state rows": lambda m: m((X, S), (torch.zeros(3, 2), PX, PS)),
    "state history": lambda m: m((X, S), (H, PX[:1], PS)),
    "state parts": lambda m: m((X, S), (H, PX)),
    "state tensor": lambda m: m((X, S), H),
    "state number": lambda m: m((X, S), 0),
    "state dictionary": lambda m: m((X, S), {"h": H}),
    "state dtype": lambda m: m((X, S), (H.double(), PX, PS)),
    "state symbol dtype": lambda m: m((X, S), (H, PX, PS.float())),
    "state symbol range": lambda m: m((X, S), (H, PX, PS + 4)),
    "state symbol below": lambda m: m((X, S), (H, PX, PS - 2)),
    "state none inside": lambda m: m((X, S), (H, None, PS)),
    "step with a sequence": lambda m: m.step((X, S)),
    "step without tensor": lambda m: m.step(3),
    "step symbol": lambda m: m.step((X[0], S[0] + 9)),
    "step with a scalar": lambda m: m.step((torch.tensor(0.0), S[0])),
    "initial state of a tensor": lambda m: m.initial_state(H),
    "initial state below": lambda m: m.initial_state(-1),
    "initial state real": lambda m: m.initial_state(2.5),
    "target shape": lambda m: m.loss(torch.zeros(5, 2, 2), torch.zeros(5, 2)),
    "target rows": lambda m: m.loss(torch.zeros(5, 2, 2), torch.zeros(5, 3, 2)),
    "target none": lambda m: m.loss(torch.zeros(5, 2, 2), None),
    "y none": lambda m: m.loss(None, torch.zeros(5, 2, 2)),
    "backend": lambda m: rnnc.compile(TEXT, backend="tpu"),
    "backend number": lambda m: rnnc.compile(TEXT, backend=3),
    "size text": lambda m: rnnc.compile(TEXT, hidden="a"),
    "size bool": lambda m: rnnc.compile(TEXT, hidden=True),
    "size nan": lambda m: rnnc.compile(TEXT, hidden=float("nan")),
    "spec number": lambda m: rnnc.compile(3),
    "spec none": lambda m: rnnc.compile(None),
    "spec bytes": lambda m: rnnc.compile(TEXT.encode()),
    "model number": lambda m: rnnc.compile(TEXT, model=3),
    "no step ahead": lambda m: LOOKING_AHEAD.step(X[0]),
    "no state ahead": lambda m: LOOKING_AHEAD(X, (H,)),
    "no initial state ahead": lambda m: LOOKING_AHEAD.initial_state(2),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        WRONG[case](MODEL)
    text = str(caught.value)
    if "ahead" in case:
        assert "g runs backward in time" in text
    else:
        assert "expected" in text, text
        assert "got" in text, text


def test_what_is_right_passes() -> None:
    y, state = MODEL(
        (X, S), (H, PX, PS), lengths=[5, 0], resets=torch.zeros(5, 2, dtype=torch.bool)
    )
    assert y.shape == (5, 2, 2)
    MODEL({"s": S.int(), "x": X}, list(state), lengths=torch.tensor([1, 2], dtype=torch.int32))
    MODEL((X, S - 1))
    MODEL.step((X[0], S[0]), state)


def test_binary_inputs_may_be_integers_or_booleans() -> None:
    model = rnnc.compile("input x: binary[3]\nstate h: real[2]\nh' = x ⊕ h\nx' = ▷ h'\n")
    y, _ = model(X)
    for dtype in (torch.bool, torch.uint8, torch.int64):
        assert torch.equal(model(X.to(dtype))[0], y)


@pytest.mark.parametrize("text", ["state h: real[2]\noutput y: real[2]\nh' = tanh(W h)\ny = h'\n"])
def test_a_model_without_inputs(text: str) -> None:
    try:
        model = rnnc.compile(text)
    except rnnc.RnnError:
        return
    with pytest.raises(ValueError, match="expected"):
        model(X)
