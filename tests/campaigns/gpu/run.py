"""Everything that only a GPU can tell, in one short visit: `make gpu`.

Runs the tests marked `gpu` in several processes, a few of them under compute-sanitizer, then the
benchmarks, and writes one JSON file and one table. Needs Python >= 3.11 with torch, Triton, lark,
networkx and pytest alone, and ends within eight minutes: what did not fit is listed.

With `--device cpu` and TRITON_INTERPRET=1 it can be tried out anywhere; its figures then mean
nothing.
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

# Run as a script, it finds its own modules below tests/.
from campaigns.gpu.budget import TimeBudget  # noqa: E402
from campaigns.gpu.pytest_shards import run_tests, sanitize  # noqa: E402


def describe_environment(device: str) -> dict[str, Any]:
    """What belongs beside every figure."""
    import torch
    import triton

    found: dict[str, Any] = {
        "device": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "measured_on_a_gpu": device == "cuda",
    }
    if device == "cuda":
        what = torch.cuda.get_device_properties(0)
        found["device"] = what.name
        found["capability"] = f"{what.major}.{what.minor}"
        found["multiprocessors"] = what.multi_processor_count
        found["cudnn"] = torch.backends.cudnn.version()
    return found


def main() -> int:
    """Tests, sanitizer, benchmarks; exit status 1 where a test failed or none passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--minutes", type=float, default=7.5)
    parser.add_argument("--tests", default="", help="as pytest's -k")
    parser.add_argument("--shards", type=int, default=max(2, min(8, (os.cpu_count() or 4) // 2)))
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu.json")
    said = parser.parse_args()
    import torch

    if said.device == "cuda" and not torch.cuda.is_available():
        print("there is no GPU here that torch can use", file=sys.stderr)
        return 1
    budget = TimeBudget(60 * said.minutes)
    said.out.parent.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = describe_environment(said.device)
    print(json.dumps(report), flush=True)

    tests = run_tests(budget.share(0.45), said.tests, said.out.parent, said.shards)
    counts = f"{tests['passed']} tests passed, {len(tests['failed'])} failed"
    print(f"{counts}, {tests['skipped']} skipped, {len(tests['not_reached'])} not reached")
    print("\n".join([*tests["failed"], *tests["why_skipped"]]), flush=True)
    checked = {"status": "skipped", "why": "it checks kernels on a GPU, and none is used"}
    if said.device == "cuda":
        checked = sanitize(budget.share(0.2))
    print(f"compute-sanitizer: {json.dumps(checked)}", flush=True)

    from campaigns.gpu.tables import Target, measure_sections

    figures = measure_sections(
        Target(said.device, said.device != "cuda"), budget, lambda s: print(s, flush=True)
    )
    report |= {
        "seconds": budget.elapsed,
        "tests": tests,
        "sanitizer": checked,
        "figures": figures,
        "left_out": [*tests["not_reached"], *budget.skipped],
    }
    said.out.write_text(json.dumps(report, indent=1) + "\n")
    print("\n".join(["", *(f"did not fit: {what}" for what in budget.skipped)]))
    print(f"written: {said.out}, after {budget.elapsed:.0f} s")
    return 1 if tests["failed"] or not tests["passed"] or checked["status"] == "failed" else 0


if __name__ == "__main__":
    sys.exit(main())
