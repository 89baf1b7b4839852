"""Small models train on one thread, unless OMP_NUM_THREADS is set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from rnnc.operators.analyze import analyze
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.sources.zoo import zoo_source
from rnnc.runtime.training.thread_count import limit_threads


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def network(hidden: int) -> OperatorGraph:
    return analyze(zoo_source("rnn"), parameters={"hidden": hidden}).require_graph()


def test_a_small_model_takes_one_thread() -> None:
    limit_threads(network(200), 16)
    assert torch.get_num_threads() == 1


def test_a_large_model_takes_them_all() -> None:
    limit_threads(network(1000), 16)
    assert torch.get_num_threads() == 2


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    limit_threads(network(200), 16)
    assert torch.get_num_threads() == 2
