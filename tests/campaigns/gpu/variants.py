"""Variants of one computation with the same weights, timed in turns on one device."""

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
from campaigns.gpu.budget import TimeBudget
from rnnc.compiler.backends.cuda.autotune.tuning_cache import use_table
from rnnc.compiler.backends.cuda.autotune.tuning_lookup import device_name
from rnnc.compiler.backends.cuda.autotune.tuning_table import TuningTable
from rnnc.compiler.backends.cuda.cudnn.cudnn_layers import CudnnLayers
from rnnc.runtime.benchmark.baselines.backends import backend_candidate
from rnnc.runtime.benchmark.baselines.compiled_cell import compiled_cell
from rnnc.runtime.benchmark.baselines.torch_layers import torch_layers
from rnnc.runtime.benchmark.measurement.device_timing import synchronize_after
from rnnc.runtime.benchmark.workload.candidate import Candidate, CandidateFactory, Unavailable
from rnnc.runtime.benchmark.workload.workload import Workload, make_workload

TIER_VARIABLE = "RNNC_CUDA_TIER"
ROUNDS = 15


@contextmanager
def force_tier(tier: str) -> Iterator[None]:
    """Restrict loops to one tier."""
    before = os.environ.get(TIER_VARIABLE)
    os.environ[TIER_VARIABLE] = tier
    try:
        yield
    finally:
        os.environ.pop(TIER_VARIABLE) if before is None else os.environ.update(
            {TIER_VARIABLE: before}
        )


@contextmanager
def set_cudnn(on: bool) -> Iterator[None]:
    """Enable or disable cuDNN."""
    before = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = on
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before


def tier_candidate(tier: str) -> CandidateFactory:
    """Return a factory for the backend `cuda` with all loops in one tier."""

    def make(workload: Workload) -> Candidate:
        def forced(function: Callable[[], object]) -> Callable[[], object]:
            def run() -> object:
                with force_tier(tier):
                    return function()

            return run

        with force_tier(tier):
            candidate = backend_candidate("cuda")(workload)
        return replace(candidate, forward=forced(candidate.forward), step=forced(candidate.step))

    return make


def cudnn_candidate(workload: Workload) -> Candidate:
    """Make the backend `cuda` with a tuning table that prefers cuDNN.

    Raises:
        Unavailable: for a graph that is no stack of torch.nn's layers.
    """
    library = CudnnLayers(workload.graph)
    if library.stack is None:
        raise Unavailable(library.mismatch_reason)
    chip = device_name(workload.device.index or 0) if workload.device.type == "cuda" else ""
    table = TuningTable(
        libraries={library.tuning_key(workload.output_gradients[0].dtype, workload.rows): "cudnn"}
    )

    def measured(function: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            with use_table(chip, table):
                return function()

        return run

    candidate = backend_candidate("cuda")(workload)
    return replace(candidate, forward=measured(candidate.forward), step=measured(candidate.step))


FACTORIES: Mapping[str, CandidateFactory] = {
    "cuda": backend_candidate("cuda"),
    "cuda by cuDNN": cudnn_candidate,
    "tier graph": tier_candidate("graph"),
    "cuda, no scan": backend_candidate("cuda", without=("scan",)),
    "aten": backend_candidate("aten"),
    "reference": backend_candidate("reference"),
    "torch.nn": torch_layers,
    "compiled cell": compiled_cell,
}


def make_zoo_workload(
    name: str, steps: int, rows: int, device: str, dtype: str, **sizes: int
) -> Workload:
    """Make a workload of a zoo model, with the sizes that the model has."""
    program = None
    for bound in (sizes, {}):
        try:
            program = rnnc.compile(f"zoo:{name}", backend="reference", parameters=bound).program
            break
        except rnnc.RnnError:
            if not bound:
                raise
    assert program is not None
    return make_workload(program, steps, rows, device=device, dtype=getattr(torch, dtype))


def time_variants(
    workload: Workload,
    names: tuple[str, ...],
    budget: TimeBudget,
    pass_name: str = "step",
    rounds: int = ROUNDS,
) -> dict[str, Any]:
    """Return each variant's milliseconds: first call, and median of interleaved calls."""
    first: dict[str, float] = {}
    functions: dict[str, Callable[[], object]] = {}
    failed: dict[str, str] = {}
    for name in names:
        try:
            begin = time.perf_counter()
            function = synchronize_after(
                getattr(FACTORIES[name](workload), pass_name), workload.device.type
            )
            function()
            first[name] = 1e3 * (time.perf_counter() - begin)
            function()
            functions[name] = function
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {str(error)[:300]}"
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds):
        if turn and budget.remaining <= 0:
            break
        for name, function in functions.items():
            begin = time.perf_counter()
            function()
            times[name].append(1e3 * (time.perf_counter() - begin))
    medians = {name: statistics.median(samples) for name, samples in times.items()}
    rounds_run = {name: len(samples) for name, samples in times.items()}
    return {"first": first, "median": medians, "rounds": rounds_run, "failed": failed}
