"""Everything that only a GPU can tell, in one short visit: `make gpu`.

Runs the tests marked `gpu` in four processes, then times training steps in turns, and writes one
JSON file and one table. Needs Python >= 3.11 with torch, Triton, lark, networkx and pytest alone,
and ends within eight minutes: the report says whether all tests were reached by then.

With `--device cpu` and TRITON_INTERPRET=1 it can be tried out anywhere; its figures then mean
nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TESTS = "tests/compiler/backends/test_cuda_gpu.py"
SHARDS = 4
NN = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}


def run_tests(until: float, chosen: str) -> dict[str, Any]:
    """What the tests said, by name; those that were still to come when time was up are missing."""
    base = ["-v", "--noconftest", "-p", "no:cacheprovider", "-m", "gpu", TESTS, "--tb=short"]
    if chosen:
        base += ["-k", chosen]
    files = [ROOT / "build" / f"gpu-tests-{part}.txt" for part in range(SHARDS)]
    started = []
    for part, file in enumerate(files):
        shard = {**os.environ, "RNNC_SHARD": f"{part + 1}/{SHARDS}", "OMP_NUM_THREADS": "2"}
        started.append(
            subprocess.Popen(
                [sys.executable, "-u", "-m", "pytest", *base],
                cwd=ROOT,
                env=shard,
                stdout=file.open("w"),
                stderr=subprocess.STDOUT,
            )
        )
    for process in started:
        try:
            process.wait(max(1.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    lines = [line for file in files for line in file.read_text().splitlines()]
    passed = [line.split()[0] for line in lines if " PASSED" in line]
    failed = [line.split()[0] for line in lines if " FAILED" in line and "::" in line]
    said = [line for line in lines if line.startswith("E  ")]
    ended = all(process.returncode in {0, 1, 5} for process in started)
    return {"passed": len(passed), "failed": failed, "said": said[:80], "all_reached": ended}


def training_step(model: Any, x: Any) -> Callable[[], None]:
    """Forward, and backward to the parameters, of the sum of all outputs."""

    def step() -> None:
        for parameter in model.parameters():
            parameter.grad = None
        y = model(x)[0]
        y.sum().backward()

    return step


def in_tier(tier: str, step: Callable[[], None]) -> Callable[[], None]:
    """The same with loops in one tier."""

    def forced() -> None:
        os.environ["RNNC_CUDA_TIER"] = tier
        try:
            step()
        finally:
            del os.environ["RNNC_CUDA_TIER"]

    return forced


def contenders(
    name: str, hidden: int, steps: int, rows: int, device: str, dtype: Any
) -> dict[str, Callable[[], None]]:
    """Ways to compute one training step."""
    import torch

    import rnnc

    x = torch.randn(steps, rows, 88, device=device, dtype=dtype)
    found = {}
    for way in ("cuda", "tier graph", "aten"):
        backend = "aten" if way == "aten" else "cuda"
        model = rnnc.compile(f"zoo:{name}", backend=backend, hidden=hidden).to(device, dtype)
        step = training_step(model, x)
        found[way] = in_tier("graph", step) if way == "tier graph" else step
    if name in NN:
        layer = getattr(torch.nn, NN[name])(88, hidden).to(device, dtype)
        found["torch.nn"] = training_step(layer, x)
    return found


def timed(ways: dict[str, Callable[[], None]], until: float, device: str) -> dict[str, Any]:
    """For each way its first call and the median of later ones, in turns, in milliseconds."""
    import torch

    def once(step: Callable[[], None]) -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - start)

    first: dict[str, float] = {}
    times: dict[str, list[float]] = {}
    wrong: dict[str, str] = {}
    for name, step in ways.items():
        try:
            first[name] = once(step)
            once(step)
            times[name] = []
        except Exception as error:
            wrong[name] = f"{type(error).__name__}: {str(error)[:300]}"
    for _ in range(15):
        if time.monotonic() > until:
            break
        for name in times:
            times[name].append(once(ways[name]))
    medians = {name: statistics.median(found) for name, found in times.items() if found}
    return {"first": first, "median": medians, "failed": wrong}


def rows_of(until: float, device: str, small: bool) -> list[dict[str, Any]]:
    """The benchmark, the most telling rows first."""
    import torch

    if small:
        cases = [("lstm", 8, 3, 2, torch.float32), ("mingru", 8, 3, 2, torch.float32)]
    else:
        cases = [
            (name, hidden, 256, rows, dtype)
            for hidden, rows in ((512, 32), (128, 16), (256, 64), (1024, 32))
            for name in ("lstm", "gru", "rnn", "dts_rnn", "mingru", "sru", "rhn")
            for dtype in (torch.float32, torch.bfloat16)
        ]
    found = []
    for name, hidden, steps, rows, dtype in cases:
        if time.monotonic() > until:
            break
        case = {"model": name, "H": hidden, "T": steps, "B": rows, "dtype": str(dtype)[6:]}
        try:
            ways = contenders(name, hidden, steps, rows, device, dtype)
            found.append({**case, **timed(ways, until, device)})
        except Exception as error:
            found.append({**case, "failed": {"all": f"{type(error).__name__}: {error}"[:300]}})
        print(line_of(found[-1]), flush=True)
    return found


def line_of(row: dict[str, Any]) -> str:
    """One row of the table: milliseconds, and how often faster than the others."""
    head = f"| {row['model']} | {row['H']} | {row['B']} | {row['dtype']} |"
    median = row.get("median", {})
    cells = [f"{median[name]:.2f}" if name in median else "" for name in WAYS]
    ours = median.get("cuda")
    ratios = [f"{median[n] / ours:.2f}x" if ours and n in median else "" for n in WAYS[1:]]
    first = f"{row['first']['cuda'] / 1e3:.1f}" if "cuda" in row.get("first", {}) else ""
    return f"{head} {' | '.join([*cells, *ratios, first])} |"


WAYS = ("cuda", "torch.nn", "tier graph", "aten")
TABLE = (
    "| model | H | B | dtype | cuda, ms | torch.nn, ms | tier graph, ms | aten, ms | over torch.nn "
    "| over tier graph | over aten | first, s |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
)


def main() -> int:
    """Tests, then the benchmark; exit status 1 where a test failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=7.5)
    parser.add_argument("--tests", default="", help="as pytest's -k")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu.json")
    said = parser.parse_args()
    import torch

    if said.device == "cuda" and not torch.cuda.is_available():
        print("there is no CUDA device", file=sys.stderr)
        return 1
    import triton

    start = time.monotonic()
    end = start + 60 * said.minutes
    (ROOT / "build").mkdir(exist_ok=True)
    about = {
        "device": torch.cuda.get_device_name(0) if said.device == "cuda" else platform.processor(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }
    print(json.dumps(about))
    tests = run_tests(start + 0.55 * (end - start), said.tests)
    print(f"{tests['passed']} tests passed, {len(tests['failed'])} failed")
    print("\n".join(["", *TABLE]))
    rows = rows_of(end, said.device, small=said.device != "cuda")
    seconds = time.monotonic() - start
    report = {**about, "seconds": seconds, "tests": tests, "training_step": rows}
    said.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\nwritten: {said.out}")
    return 1 if tests["failed"] or not tests["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
