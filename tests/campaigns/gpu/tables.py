"""The figures that a GPU is to give, a section each, the most telling rows first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from campaigns.gpu.budget import Budget
from campaigns.gpu.variants import cudnn, made, only_tier, timed
from rnnc.runtime.benchmark.baselines.gemm_floor import flops, needed

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where figures are taken. small: sizes for the interpreter, whose times mean nothing."""

    device: str
    small: bool


@dataclass(frozen=True, slots=True)
class Section:
    """Rows of one kind.

    least, aim: what their ratio is to reach; `below` where less is better.
    """

    name: str
    title: str
    least: float
    aim: float
    rows: Callable[[Place, Budget], Iterator[Row]]
    share: float
    below: bool = False


CELLS = ("dts_rnn", "rhn", "dt_rnn", "pru", "dilated_rnn", "srnn", "sru", "qrnn", "mingru")


def layers(place: Place, budget: Budget) -> Iterator[Row]:
    """LSTM, GRU and tanh RNN beside torch.nn on cuDNN, and beside torch.nn without it."""
    sizes = [(512, 32, 256), (128, 16, 256), (256, 64, 512), (1024, 32, 256), (512, 128, 1024)]
    for hidden, rows, steps in [(8, 2, 3)] if place.small else sizes:
        for dtype in ("float32", "bfloat16")[: 1 if place.small else 2]:
            for name in ("lstm", "gru", "rnn"):
                what = f"{name} H={hidden} B={rows} T={steps} {dtype}"
                if budget.allows(f"layers: {what}"):
                    its = made(name, steps, rows, place.device, dtype, hidden=hidden)
                    found = timed(
                        its, ("cuda", "torch.nn", "cuda by cuDNN", "tier graph", "aten"), budget
                    )
                    with cudnn(False):
                        bare = timed(its, ("torch.nn",), budget, rounds=3)
                    for kind in ("median", "failed"):
                        if "torch.nn" in bare[kind]:
                            found[kind]["torch.nn without cuDNN"] = bare[kind]["torch.nn"]
                    yield row(what, found, "torch.nn")


def others(place: Place, budget: Budget) -> Iterator[Row]:
    """Any other cell beside its reference loop."""
    yield from _cells(place, budget, "reference", "over the reference", 128)


def compiled(place: Place, budget: Budget) -> Iterator[Row]:
    """Any other cell beside `torch.compile` of the cell with CUDA graphs."""
    yield from _cells(place, budget, "compiled cell", "over the compiled cell", 64)


def _cells(place: Place, budget: Budget, rival: str, title: str, steps: int) -> Iterator[Row]:
    hidden, rows, steps = (6, 2, 3) if place.small else (256, 32, steps)
    for name in CELLS[: 1 if place.small else None]:
        what = f"{name} H={hidden} B={rows} T={steps} float32"
        if budget.allows(f"{title}: {what}"):
            its = made(name, steps, rows, place.device, "float32", hidden=hidden)
            yield row(what, timed(its, ("cuda", rival), budget, rounds=5), rival)


def same_flops(place: Place, budget: Budget) -> Iterator[Row]:
    """Any cell's time for a FLOP beside that of cuDNN's LSTM."""
    hidden, rows, steps = (6, 2, 3) if place.small else (256, 32, 256)
    if not budget.allows("the FLOPs of cuDNN's LSTM"):
        return
    lstm = made("lstm", steps, rows, place.device, "float32", hidden=hidden)
    base = timed(lstm, ("torch.nn",), budget)["median"].get("torch.nn")
    for name in CELLS[: 1 if place.small else None]:
        what = f"{name} H={hidden} B={rows} T={steps} float32"
        if base and budget.allows(f"the FLOPs of cuDNN's LSTM: {what}"):
            its = made(name, steps, rows, place.device, "float32", hidden=hidden)
            found = timed(its, ("cuda",), budget)
            mine, theirs = (flops(needed(case, training=True)) for case in (its, lstm))
            ours = found["median"].get("cuda")
            ratio = ours / mine / (base / theirs) if ours and mine else None
            yield {"what": what, **found, "flops": mine, "base": base, "ratio": ratio}


def one_step(place: Place, budget: Budget) -> Iterator[Row]:
    """Microseconds of one forward step in each tier: of a long call less a short one."""
    hidden, rows, short, long = (8, 2, 2, 4) if place.small else (512, 32, 512, 1536)
    for dtype in ("bfloat16", "float32")[1 if place.small else 0 :]:
        for tier in ("grid", "graph", "chip"):
            for name in ("rnn", "lstm", "dts_rnn")[: 1 if place.small else None]:
                what = f"{name} H={hidden} B={rows} {dtype}, tier {tier}"
                if budget.allows(f"one step: {what}"):
                    with only_tier(tier):
                        both = [
                            timed(
                                made(name, steps, rows, place.device, dtype, hidden=hidden),
                                ("cuda",),
                                budget,
                                "forward",
                            )
                            for steps in (short, long)
                        ]
                    times = [found["median"].get("cuda") for found in both]
                    micro = None
                    if None not in times:
                        micro = 1e3 * (times[1] - times[0]) / (long - short)
                    yield {"what": what, **both[1], "ratio": micro}


def scans(place: Place, budget: Budget) -> Iterator[Row]:
    """Linear recurrences beside the same as a loop of steps."""
    hidden, rows, steps = (6, 2, 3) if place.small else (512, 32, 1024)
    for name in ("mingru", "sru", "qrnn")[: 1 if place.small else None]:
        what = f"{name} H={hidden} B={rows} T={steps} float32"
        if budget.allows(f"scans: {what}"):
            its = made(name, steps, rows, place.device, "float32", hidden=hidden)
            yield row(
                what, timed(its, ("cuda", "cuda, no scan"), budget, rounds=5), "cuda, no scan"
            )


FIRST = """
import json, sys, time
import torch
from campaigns.gpu.variants import MAKERS, made
from rnnc.runtime.benchmark.measurement.device_timing import finished
name, device, hidden, steps, rows = sys.argv[1:]
torch.nn.functional.linear(torch.ones(2, 2, device=device), torch.ones(2, 2, device=device))
its = made(name, int(steps), int(rows), device, "float32", hidden=int(hidden))
begin = time.perf_counter()
step = finished(MAKERS["cuda"](its).step, device)
step()
first = time.perf_counter() - begin
begin = time.perf_counter()
step()
print(json.dumps(first - (time.perf_counter() - begin)))
"""


def compiling(place: Place, budget: Budget) -> Iterator[Row]:
    """Seconds that a first training step takes longer than the second, in new processes."""
    sizes = (6, 3, 2) if place.small else (256, 128, 32)
    for name in ("lstm", "dts_rnn", "mingru")[: 1 if place.small else None]:
        if not budget.allows(f"compile times: {name}", 5.0):
            continue
        with tempfile.TemporaryDirectory() as cache:
            command = [sys.executable, "-c", FIRST, name, place.device, *map(str, sizes)]
            told = {}
            for kind in ("cold", "cached"):
                try:
                    done = subprocess.run(
                        command,
                        env={**os.environ, "TRITON_CACHE_DIR": cache},
                        capture_output=True,
                        text=True,
                        timeout=max(1.0, budget.left),
                        check=True,
                    )
                    told[kind] = float(json.loads(done.stdout.splitlines()[-1]))
                except (subprocess.SubprocessError, ValueError, IndexError) as error:
                    words = getattr(error, "stderr", "") or str(error)
                    told[f"{kind} failed"] = str(words).strip()[-300:]
        yield {"what": f"{name} H={sizes[0]}", "seconds": told, "ratio": told.get("cold")}


def row(what: str, found: dict[str, Any], rival: str) -> Row:
    """A row, and how many times as fast `cuda` is as a rival."""
    median = found["median"]
    both = "cuda" in median and rival in median
    return {"what": what, **found, "ratio": median[rival] / median["cuda"] if both else None}


SECTIONS = (
    Section("layers", "training step, over torch.nn (cuDNN)", 1.0, 1.3, layers, 0.35),
    Section("others", "training step, over the reference loop", 30, 60, others, 0.25),
    Section("step", "one forward step, µs", 4, 2, one_step, 0.35, below=True),
    Section("compiled", "over torch.compile with CUDA graphs", 3, 6, compiled, 0.4),
    Section("flops", "time of a FLOP, over cuDNN's LSTM", 2, 1, same_flops, 0.4, below=True),
    Section("scans", "linear recurrences over the loop", 20, 100, scans, 0.5),
    Section("compiling", "first compile, s", 10, 4, compiling, 1.0, below=True),
)


def measure(place: Place, budget: Budget, say: Callable[[str], None]) -> dict[str, list[Row]]:
    """All sections; a row that fails says why, and none stops the others."""
    found: dict[str, list[Row]] = {}
    for section in SECTIONS:
        rows = found[section.name] = []
        inside = section.rows(place, budget.share(section.share))
        say(f"\n{section.title} (at least {section.least:g}, aim {section.aim:g})")
        try:
            for one in inside:
                rows.append(one)
                say(line_of(section, one))
        except Exception as error:
            budget.left_out.append(f"{section.name}: {type(error).__name__}: {str(error)[:200]}")
            say(f"| {section.name} | failed: {type(error).__name__}: {str(error)[:200]} |")
    return found


def line_of(section: Section, one: Row) -> str:
    """One row of the table, and whether it reaches what it should."""
    ratio = one["ratio"]
    verdict = "not measured"
    if ratio is not None:
        enough = ratio <= section.least if section.below else ratio >= section.least
        short = "too much" if section.below else "too little"
        verdict = f"{ratio:.2f}" + ("" if enough else f" ({short})")
    if "seconds" in one:
        parts = one["seconds"].items()
        times = ", ".join(f"{k} {v:.2f} s" if isinstance(v, float) else k for k, v in parts)
    else:
        times = ", ".join(f"{name} {ms:.2f} ms" for name, ms in one["median"].items())
    wrong = "; ".join(f"{n}: {why}" for n, why in one.get("failed", {}).items())
    return f"| {one['what']} | {times} | {verdict} |{f' {wrong}' if wrong else ''}"
