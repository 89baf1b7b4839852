"""GPU benchmark tables, one section each, the most informative rows first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from campaigns.gpu.budget import TimeBudget
from campaigns.gpu.variants import force_tier, make_zoo_workload, set_cudnn, time_variants
from rnnc.runtime.benchmark.baselines.gemm_floor import required_gemms, total_flops

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """The device of measurements. interpreted: small sizes, with meaningless times."""

    device: str
    interpreted: bool


@dataclass(frozen=True, slots=True)
class TableSection:
    """Rows of one kind.

    minimum, aim: what their ratio is to reach; `lower_is_better` reverses the comparison.
    """

    name: str
    title: str
    minimum: float
    aim: float
    rows: Callable[[Target, TimeBudget], Iterator[Row]]
    share: float
    lower_is_better: bool = False


CELLS = ("dts_rnn", "rhn", "dt_rnn", "pru", "dilated_rnn", "srnn", "sru", "qrnn", "mingru")


def layer_speedups(place: Target, budget: TimeBudget) -> Iterator[Row]:
    """Compare LSTM, GRU and tanh RNN with torch.nn, with and without cuDNN."""
    sizes = [(512, 32, 256), (128, 16, 256), (256, 64, 512), (1024, 32, 256), (512, 128, 1024)]
    for hidden, rows, steps in [(8, 2, 3)] if place.interpreted else sizes:
        for dtype in ("float32", "bfloat16")[: 1 if place.interpreted else 2]:
            for name in ("lstm", "gru", "rnn"):
                row_name = f"{name} H={hidden} B={rows} T={steps} {dtype}"
                if budget.try_begin(f"layers: {row_name}"):
                    workload = make_zoo_workload(
                        name, steps, rows, place.device, dtype, hidden=hidden
                    )
                    timings = time_variants(
                        workload,
                        ("cuda", "torch.nn", "cuda by cuDNN", "tier graph", "aten"),
                        budget,
                    )
                    with set_cudnn(False):
                        without_cudnn = time_variants(workload, ("torch.nn",), budget, rounds=3)
                    for kind in ("median", "failed"):
                        if "torch.nn" in without_cudnn[kind]:
                            timings[kind]["torch.nn without cuDNN"] = without_cudnn[kind][
                                "torch.nn"
                            ]
                    yield make_row(row_name, timings, "torch.nn")


def reference_speedups(place: Target, budget: TimeBudget) -> Iterator[Row]:
    """Compare other cells with their reference loop."""
    yield from _cell_speedups(place, budget, "reference", "over the reference", 128)


def compiled_cell_speedups(place: Target, budget: TimeBudget) -> Iterator[Row]:
    """Compare other cells with `torch.compile` of the cell with CUDA graphs."""
    yield from _cell_speedups(place, budget, "compiled cell", "over the compiled cell", 64)


def _cell_speedups(
    place: Target, budget: TimeBudget, baseline: str, title: str, steps: int
) -> Iterator[Row]:
    hidden, rows, steps = (6, 2, 3) if place.interpreted else (256, 32, steps)
    for name in CELLS[: 1 if place.interpreted else None]:
        row_name = f"{name} H={hidden} B={rows} T={steps} float32"
        if budget.try_begin(f"{title}: {row_name}"):
            workload = make_zoo_workload(name, steps, rows, place.device, "float32", hidden=hidden)
            yield make_row(
                row_name, time_variants(workload, ("cuda", baseline), budget, rounds=5), baseline
            )


def time_per_flop(place: Target, budget: TimeBudget) -> Iterator[Row]:
    """Compare other cells' time per FLOP with cuDNN's LSTM."""
    hidden, rows, steps = (6, 2, 3) if place.interpreted else (256, 32, 256)
    if not budget.try_begin("the FLOPs of cuDNN's LSTM"):
        return
    lstm = make_zoo_workload("lstm", steps, rows, place.device, "float32", hidden=hidden)
    base = time_variants(lstm, ("torch.nn",), budget)["median"].get("torch.nn")
    for name in CELLS[: 1 if place.interpreted else None]:
        row_name = f"{name} H={hidden} B={rows} T={steps} float32"
        if base and budget.try_begin(f"the FLOPs of cuDNN's LSTM: {row_name}"):
            workload = make_zoo_workload(name, steps, rows, place.device, "float32", hidden=hidden)
            timings = time_variants(workload, ("cuda",), budget)
            own_flops, lstm_flops = (
                total_flops(required_gemms(one, training=True)) for one in (workload, lstm)
            )
            seconds = timings["median"].get("cuda")
            ratio = seconds / own_flops / (base / lstm_flops) if seconds and own_flops else None
            yield {"what": row_name, **timings, "flops": own_flops, "base": base, "ratio": ratio}


def step_latency(place: Target, budget: TimeBudget) -> Iterator[Row]:
    """Measure microseconds per forward step in each tier: a long call minus a short one."""
    hidden, rows, short, long = (8, 2, 2, 4) if place.interpreted else (512, 32, 512, 1536)
    for dtype in ("bfloat16", "float32")[1 if place.interpreted else 0 :]:
        for tier in ("grid", "graph", "chip"):
            for name in ("rnn", "lstm", "dts_rnn")[: 1 if place.interpreted else None]:
                row_name = f"{name} H={hidden} B={rows} {dtype}, tier {tier}"
                if budget.try_begin(f"one step: {row_name}"):
                    with force_tier(tier):
                        short_and_long = [
                            time_variants(
                                make_zoo_workload(
                                    name, steps, rows, place.device, dtype, hidden=hidden
                                ),
                                ("cuda",),
                                budget,
                                "forward",
                            )
                            for steps in (short, long)
                        ]
                    times = [timings["median"].get("cuda") for timings in short_and_long]
                    micro = None
                    if None not in times:
                        micro = 1e3 * (times[1] - times[0]) / (long - short)
                    yield {"what": row_name, **short_and_long[1], "ratio": micro}


def scan_speedups(place: Target, budget: TimeBudget) -> Iterator[Row]:
    """Compare linear recurrences as scans and as loops of steps."""
    hidden, rows, steps = (6, 2, 3) if place.interpreted else (512, 32, 1024)
    for name in ("mingru", "sru", "qrnn")[: 1 if place.interpreted else None]:
        row_name = f"{name} H={hidden} B={rows} T={steps} float32"
        if budget.try_begin(f"scans: {row_name}"):
            workload = make_zoo_workload(name, steps, rows, place.device, "float32", hidden=hidden)
            yield make_row(
                row_name,
                time_variants(workload, ("cuda", "cuda, no scan"), budget, rounds=5),
                "cuda, no scan",
            )


FIRST_STEP_SCRIPT = """
import json, sys, time
import torch
from campaigns.gpu.variants import FACTORIES, make_zoo_workload
from rnnc.runtime.benchmark.measurement.device_timing import synchronize_after
name, device, hidden, steps, rows = sys.argv[1:]
torch.nn.functional.linear(torch.ones(2, 2, device=device), torch.ones(2, 2, device=device))
its = make_zoo_workload(name, int(steps), int(rows), device, "float32", hidden=int(hidden))
begin = time.perf_counter()
step = synchronize_after(FACTORIES["cuda"](its).step, device)
step()
first = time.perf_counter() - begin
begin = time.perf_counter()
step()
print(json.dumps(first - (time.perf_counter() - begin)))
"""


def compile_times(place: Target, budget: TimeBudget) -> Iterator[Row]:
    """Measure by how much a first training step exceeds the second, in new processes."""
    sizes = (6, 3, 2) if place.interpreted else (256, 128, 32)
    for name in ("lstm", "dts_rnn", "mingru")[: 1 if place.interpreted else None]:
        if not budget.try_begin(f"compile times: {name}", 5.0):
            continue
        with tempfile.TemporaryDirectory() as cache:
            command = [
                sys.executable,
                "-c",
                FIRST_STEP_SCRIPT,
                name,
                place.device,
                *map(str, sizes),
            ]
            seconds = {}
            for kind in ("cold", "cached"):
                try:
                    process = subprocess.run(
                        command,
                        env={**os.environ, "TRITON_CACHE_DIR": cache},
                        capture_output=True,
                        text=True,
                        timeout=max(1.0, budget.remaining),
                        check=True,
                    )
                    seconds[kind] = float(json.loads(process.stdout.splitlines()[-1]))
                except (subprocess.SubprocessError, ValueError, IndexError) as error:
                    words = getattr(error, "stderr", "") or str(error)
                    seconds[f"{kind} failed"] = str(words).strip()[-300:]
        yield {"what": f"{name} H={sizes[0]}", "seconds": seconds, "ratio": seconds.get("cold")}


def make_row(name: str, timings: dict[str, Any], baseline: str) -> Row:
    """Make a row with the baseline's time over that of `cuda`."""
    median = timings["median"]
    both = "cuda" in median and baseline in median
    return {"what": name, **timings, "ratio": median[baseline] / median["cuda"] if both else None}


SECTIONS = (
    TableSection("layers", "training step, over torch.nn (cuDNN)", 1.0, 1.3, layer_speedups, 0.35),
    TableSection(
        "others", "training step, over the reference loop", 30, 60, reference_speedups, 0.25
    ),
    TableSection("step", "one forward step, µs", 4, 2, step_latency, 0.35, lower_is_better=True),
    TableSection(
        "compiled", "over torch.compile with CUDA graphs", 3, 6, compiled_cell_speedups, 0.4
    ),
    TableSection(
        "flops", "time of a FLOP, over cuDNN's LSTM", 2, 1, time_per_flop, 0.4, lower_is_better=True
    ),
    TableSection("scans", "linear recurrences over the loop", 20, 100, scan_speedups, 0.5),
    TableSection("compiling", "first compile, s", 10, 4, compile_times, 1.0, lower_is_better=True),
)


def measure_sections(
    place: Target, budget: TimeBudget, print_line: Callable[[str], None]
) -> dict[str, list[Row]]:
    """Measure all sections; a failing section is listed and does not stop the others."""
    tables: dict[str, list[Row]] = {}
    for section in SECTIONS:
        rows = tables[section.name] = []
        section_rows = section.rows(place, budget.share(section.share))
        print_line(f"\n{section.title} (at least {section.minimum:g}, aim {section.aim:g})")
        try:
            for table_row in section_rows:
                rows.append(table_row)
                print_line(format_row(section, table_row))
        except Exception as error:
            budget.skipped.append(f"{section.name}: {type(error).__name__}: {str(error)[:200]}")
            print_line(f"| {section.name} | failed: {type(error).__name__}: {str(error)[:200]} |")
    return tables


def format_row(section: TableSection, table_row: Row) -> str:
    """Format a row, and if it reaches the required ratio."""
    ratio = table_row["ratio"]
    verdict = "not measured"
    if ratio is not None:
        enough = ratio <= section.minimum if section.lower_is_better else ratio >= section.minimum
        shortfall = "too much" if section.lower_is_better else "too little"
        verdict = f"{ratio:.2f}" + ("" if enough else f" ({shortfall})")
    if "seconds" in table_row:
        parts = table_row["seconds"].items()
        times = ", ".join(f"{k} {v:.2f} s" if isinstance(v, float) else k for k, v in parts)
    else:
        times = ", ".join(f"{name} {ms:.2f} ms" for name, ms in table_row["median"].items())
    failures = "; ".join(f"{n}: {why}" for n, why in table_row.get("failed", {}).items())
    return f"| {table_row['what']} | {times} | {verdict} |{f' {failures}' if failures else ''}"
