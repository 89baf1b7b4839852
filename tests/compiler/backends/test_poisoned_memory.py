"""Check that `agreement` starts memory as NaN, so that every unwritten value is detected."""

from __future__ import annotations

import os
import re
from contextlib import nullcontext

import pytest
import torch

import rnnc
from rnnc.compiler.backends.aten import op_table
from rnnc.compiler.backends.cpu.specialize import workspace_pool
from rnnc.compiler.backends.cpu.specialize.compiled_program import CompiledProgram
from support.comparison.agreement import assert_agree, compute_results
from support.faults.poisoned_memory import poison_memory

MODEL = """
input x: real[3]
state h: real[4]
output y: real[20]
h' = tanh(W h + U x)
y = sin(V h')
"""


SAID = "RNNC_TEST_LEAVES_OUT"


def leave_out(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the output not written once SAID is set; nothing as wide lies in its place before."""
    if backend == "aten":
        sine = op_table.ELEMENTWISE_FUNCTIONS["sin"]
        monkeypatch.setitem(
            op_table.ELEMENTWISE_FUNCTIONS,
            "sin",
            lambda z, out: out if SAID in os.environ else sine(z, out=out),
        )
        return
    source = CompiledProgram.source

    def planted(self: CompiledProgram) -> str:
        here = rf'\1if (!getenv("{SAID}")) STORE'
        text, count = re.subn(r"(v_sin\(.*\n.*?)STORE", here, source(self))
        assert count
        return "#include <stdlib.h>\n" + text

    monkeypatch.setattr(CompiledProgram, "source", planted)


@pytest.mark.parametrize("backend", ["aten", "cpu"])
def test_what_nobody_writes_is_seen_at_every_run(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_out(backend, monkeypatch)
    assert_agree(MODEL, backend, seed=1, steps=4, rows=2)
    monkeypatch.setenv(SAID, "1")
    for _ in range(3):
        assert compute_results(MODEL, backend, seed=1, steps=4, rows=2)["outputs"][0].isnan().all()


@pytest.mark.parametrize("lengths", [None, torch.tensor([4, 4])], ids=["again", "spare"])
@pytest.mark.parametrize("poison", [True, False])
def test_what_is_kept_for_the_next_call_holds_no_number_of_the_last_one(
    lengths: torch.Tensor | None, poison: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_pool, "MIN_POOLED_NUMBERS", 0)
    leave_out("cpu", monkeypatch)
    net, x = rnnc.compile(MODEL, backend="cpu"), torch.randn(4, 2, 3)
    with torch.no_grad():
        complete = [net(x, lengths=lengths)[0] for _ in range(3)]
        monkeypatch.setenv(SAID, "1")
        with poison_memory() if poison else nullcontext():
            actual = [net(x, lengths=lengths)[0] for _ in range(3)]
    assert torch.stack(complete).isfinite().all()
    if poison:
        assert torch.stack(actual).isnan().all()
    else:
        assert all(map(torch.equal, actual, complete))


def test_memory_is_as_it_was_afterwards() -> None:
    with poison_memory():
        assert torch.empty(9).isnan().all()
        assert torch.zeros(2).new_empty(9).isnan().all()
    assert not torch.are_deterministic_algorithms_enabled()
