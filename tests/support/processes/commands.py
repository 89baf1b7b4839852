"""Run the command line in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    stdin: bytes = b"",
    env: dict[str, str] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command; environment variables given as "" are unset."""
    merged = {**os.environ, "PYTHONPATH": str(ROOT / ".pkg"), **(env or {})}
    merged = {name: value for name, value in merged.items() if value}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        input=stdin,
        env=merged,
        capture_output=True,
        timeout=timeout,
        check=False,
    )


def rnnc(
    *arguments: str | Path,
    cwd: Path | None = None,
    stdin: bytes = b"",
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run `rnnc` in a separate process."""
    return run([sys.executable, "-m", "rnnc", *arguments], cwd=cwd, stdin=stdin, env=env)
