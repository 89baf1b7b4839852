"""Run the GPU tests in several pytest processes, and a few under compute-sanitizer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from campaigns.gpu.budget import TimeBudget

ROOT = Path(__file__).resolve().parents[3]
TESTS = "tests/compiler/backends/cuda/test_gpu.py"
SANITIZER = "compute-sanitizer"
SANITIZED_TESTS = "zoo_agrees and (chip-lstm or grid-dts_rnn or graph-gru or graph-mingru)"


def pytest_command(expression: str, *options: str) -> list[str]:
    """Build the pytest command for tests marked `gpu`, without plugins."""
    base = [sys.executable, "-u", "-m", "pytest", "--noconftest", "-p", "no:cacheprovider"]
    base += ["-m", "gpu", TESTS, "--tb=short", *options]
    return [*base, "-k", expression] if expression else base


def test_environment(**variables: str) -> dict[str, str]:
    """Return the environment of the tests, with pytest's plugin discovery off."""
    return {
        **os.environ,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "OMP_NUM_THREADS": "2",
        **variables,
    }


def run_tests(budget: TimeBudget, expression: str, folder: Path, shards: int) -> dict[str, Any]:
    """Run the tests until the deadline; report results by name, and tests not reached."""
    files = [folder / f"gpu-tests-{part}.txt" for part in range(shards)]
    started = [
        subprocess.Popen(
            pytest_command(expression, "-v", "-rs"),
            cwd=ROOT,
            env=test_environment(RNNC_SHARD=f"{part + 1}/{shards}"),
            stdout=file.open("w"),
            stderr=subprocess.STDOUT,
        )
        for part, file in enumerate(files)
    ]
    listed = subprocess.run(
        pytest_command(expression, "--collect-only", "-q"),
        cwd=ROOT,
        env=test_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    for process in started:
        try:
            process.wait(max(1.0, budget.remaining))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return parse_output(
        [line for file in files for line in file.read_text().splitlines()],
        [line for line in listed.stdout.splitlines() if "::" in line],
        all(process.returncode in {0, 1, 5} for process in started),
    )


def parse_output(lines: list[str], all_names: list[str], completed: bool) -> dict[str, Any]:
    """Parse pytest's output."""
    by: dict[str, list[str]] = {"PASSED": [], "FAILED": [], "ERROR": [], "SKIPPED": []}
    for line in lines:
        match = re.match(r"(\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED)\b", line)
        if match:
            by[match[2]].append(match[1])
    done = {name for names in by.values() for name in names}
    not_reached = [name for name in all_names if name not in done]
    reasons = [line for line in lines if line.startswith("SKIPPED [")]
    return {
        "passed": len(by["PASSED"]),
        "failed": by["FAILED"] + by["ERROR"],
        "skipped": len(by["SKIPPED"]),
        "why_skipped": sorted(set(reasons)),
        "said": [line for line in lines if line.startswith("E  ")][:80],
        "not_reached": not_reached,
        "all_reached": completed and not not_reached,
    }


def sanitize(budget: TimeBudget, chosen: str = SANITIZED_TESTS) -> dict[str, Any]:
    """Run a few tests under memcheck and racecheck of compute-sanitizer."""
    tool = shutil.which(SANITIZER) or shutil.which(SANITIZER, path="/usr/local/cuda/bin")
    if tool is None:
        return {"status": "skipped", "why": f"there is no {SANITIZER} here"}
    report: dict[str, Any] = {"status": "passed", "tools": {}}
    for kind in ("memcheck", "racecheck"):
        command = [tool, "--tool", kind, "--error-exitcode", "9", *pytest_command(chosen, "-q")]
        try:
            process = subprocess.run(
                command,
                cwd=ROOT,
                env=test_environment(),
                capture_output=True,
                text=True,
                timeout=max(1.0, budget.remaining),
                check=False,
            )
        except subprocess.TimeoutExpired:
            report["tools"][kind] = "its time was up"
            continue
        except OSError as error:
            return {"status": "skipped", "why": f"{tool} does not start: {error}"}
        lines = (process.stdout + process.stderr).splitlines()
        summary = [line for line in lines if "ERROR SUMMARY" in line or "RACECHECK SUMMARY" in line]
        if process.returncode == 9:
            report["status"] = "failed"
            report["said"] = [line for line in lines if line.startswith("=========")][:40]
        elif not summary:
            report["status"] = "skipped" if report["status"] == "passed" else report["status"]
            report["why"] = next(
                reversed([line for line in lines if line.strip()]), "it said nothing"
            )
        report["tools"][kind] = summary[-1] if summary else f"exit status {process.returncode}"
    return report
