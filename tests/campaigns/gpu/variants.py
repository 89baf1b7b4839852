"""Ways to compute one thing, each on the same weights, timed in turns on one device."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

import rnnc
from campaigns.gpu.budget import Budget
from rnnc.compiler.backends.cuda.autotune.tuning_table import Table, chip_name, using
from rnnc.compiler.backends.cuda.cudnn.cudnn_layers import Library
from rnnc.runtime.benchmark.baselines.backends import backend
from rnnc.runtime.benchmark.baselines.compiled_cell import compiled_cell
from rnnc.runtime.benchmark.baselines.torch_layers import torch_layers
from rnnc.runtime.benchmark.measurement.device_timing import finished
from rnnc.runtime.benchmark.workload.candidate import Contender, Maker, Unavailable
from rnnc.runtime.benchmark.workload.workload import Case, case

TIER = "RNNC_CUDA_TIER"
ROUNDS = 15


@contextmanager
def only_tier(tier: str) -> Iterator[None]:
    """No tier but this one."""
    before = os.environ.get(TIER)
    os.environ[TIER] = tier
    try:
        yield
    finally:
        os.environ.pop(TIER) if before is None else os.environ.update({TIER: before})


@contextmanager
def cudnn(on: bool) -> Iterator[None]:
    """With torch's own kernels in the place of cuDNN, or with cuDNN."""
    before = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = on
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before


def in_tier(tier: str) -> Maker:
    """The backend `cuda` with all loops in one tier."""

    def make(its: Case) -> Contender:
        def forced(way: Callable[[], object]) -> Callable[[], object]:
            def run() -> object:
                with only_tier(tier):
                    return way()

            return run

        with only_tier(tier):
            found = backend("cuda")(its)
        return replace(found, forward=forced(found.forward), step=forced(found.step))

    return make


def by_cudnn(its: Case) -> Contender:
    """The backend `cuda` where a table says that cuDNN is faster; without a GPU there is none.

    Raises:
        Unavailable: for a graph that is no stack of torch.nn's layers.
    """
    library = Library(its.graph)
    if library.stack is None:
        raise Unavailable(library.why)
    chip = chip_name(its.device.index or 0) if its.device.type == "cuda" else ""
    table = Table(libraries={library.key(its.given[0].dtype, its.rows): "cudnn"})

    def measured(way: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            with using(chip, table):
                return way()

        return run

    found = backend("cuda")(its)
    return replace(found, forward=measured(found.forward), step=measured(found.step))


MAKERS: Mapping[str, Maker] = {
    "cuda": backend("cuda"),
    "cuda by cuDNN": by_cudnn,
    "tier graph": in_tier("graph"),
    "cuda, no scan": backend("cuda", without=("scan",)),
    "aten": backend("aten"),
    "reference": backend("reference"),
    "torch.nn": torch_layers,
    "compiled cell": compiled_cell,
}


def made(name: str, steps: int, rows: int, device: str, dtype: str, **sizes: int) -> Case:
    """A case of the zoo; a size that a model does not have is left out."""
    program = None
    for bound in (sizes, {}):
        try:
            program = rnnc.compile(f"zoo:{name}", backend="reference", parameters=bound).program
            break
        except rnnc.RnnError:
            if not bound:
                raise
    assert program is not None
    return case(program, steps, rows, device=device, dtype=getattr(torch, dtype))


def timed(
    its: Case, names: tuple[str, ...], budget: Budget, what: str = "step", rounds: int = ROUNDS
) -> dict[str, Any]:
    """Milliseconds: of each way its first call, and the median of later ones, in turns."""
    first: dict[str, float] = {}
    ways: dict[str, Callable[[], object]] = {}
    failed: dict[str, str] = {}
    for name in names:
        try:
            begin = time.perf_counter()
            way = finished(getattr(MAKERS[name](its), what), its.device.type)
            way()
            first[name] = 1e3 * (time.perf_counter() - begin)
            way()
            ways[name] = way
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {str(error)[:300]}"
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds):
        if turn and budget.left <= 0:
            break
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            times[name].append(1e3 * (time.perf_counter() - begin))
    medians = {name: statistics.median(found) for name, found in times.items()}
    taken = {name: len(found) for name, found in times.items()}
    return {"first": first, "median": medians, "rounds": taken, "failed": failed}
