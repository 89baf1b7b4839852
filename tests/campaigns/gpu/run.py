"""Test and time everything that needs a GPU, within a time budget: `make gpu`.

Runs the tests marked `gpu` in several processes, a few of them under compute-sanitizer, then the
benchmarks, and writes one JSON file and one table. Needs Python >= 3.11 with torch, Triton, lark,
networkx and pytest alone, and ends within eight minutes: what did not fit is listed.

With `--device cpu` and TRITON_INTERPRET=1 it runs anywhere; its timings then mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))

# As a script this file is no package's module, so tests/ must be importable first.
from campaigns.gpu.budget import TimeBudget  # noqa: E402
from campaigns.gpu.pytest_shards import run_tests, sanitize  # noqa: E402


def describe_environment(device: str) -> dict[str, Any]:
    """Describe the hardware and software that the measurements depend on."""
    import torch
    import triton

    environment: dict[str, Any] = {
        "device": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "measured_on_a_gpu": device == "cuda",
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        environment["device"] = properties.name
        environment["capability"] = f"{properties.major}.{properties.minor}"
        environment["multiprocessors"] = properties.multi_processor_count
        environment["cudnn"] = torch.backends.cudnn.version()
    return environment


def main() -> int:
    """Run tests, sanitizer and benchmarks; return 1 if a test failed or none passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--minutes", type=float, default=7.5)
    parser.add_argument("--tests", default="", help="as pytest's -k")
    parser.add_argument("--shards", type=int, default=max(2, min(8, (os.cpu_count() or 4) // 2)))
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu.json")
    arguments = parser.parse_args()
    import torch

    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("there is no GPU here that torch can use", file=sys.stderr)
        return 1
    budget = TimeBudget(60 * arguments.minutes)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = describe_environment(arguments.device)
    print(json.dumps(report), flush=True)

    tests = run_tests(budget.share(0.45), arguments.tests, arguments.out.parent, arguments.shards)
    counts = f"{tests['passed']} tests passed, {len(tests['failed'])} failed"
    print(f"{counts}, {tests['skipped']} skipped, {len(tests['not_reached'])} not reached")
    print("\n".join([*tests["failed"], *tests["why_skipped"]]), flush=True)
    sanitizer = {"status": "skipped", "why": "it checks kernels on a GPU, and none is used"}
    if arguments.device == "cuda":
        sanitizer = sanitize(budget.share(0.2))
    print(f"compute-sanitizer: {json.dumps(sanitizer)}", flush=True)

    from campaigns.gpu.tables import Target, measure_sections

    figures = measure_sections(
        Target(arguments.device, arguments.device != "cuda"), budget, lambda s: print(s, flush=True)
    )
    report |= {
        "seconds": budget.elapsed,
        "tests": tests,
        "sanitizer": sanitizer,
        "figures": figures,
        "left_out": [*tests["not_reached"], *budget.skipped],
    }
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print("\n".join(["", *(f"did not fit: {what}" for what in budget.skipped)]))
    print(f"written: {arguments.out}, after {budget.elapsed:.0f} s")
    return 1 if tests["failed"] or not tests["passed"] or sanitizer["status"] == "failed" else 0


if __name__ == "__main__":
    sys.exit(main())
