"""The sanitizers over generated C: quiet as it is, loud once a fault is planted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from support.processes.commands import ROOT, run


def has_sanitizers() -> bool:
    compiler = shutil.which(os.environ.get("CC", "gcc"))
    if compiler is None:
        return False
    told = subprocess.run(
        [compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=False
    )
    return os.path.isabs(told.stdout.strip())


@pytest.mark.skipif(not has_sanitizers(), reason="the C compiler here brings no sanitizers")
@pytest.mark.parametrize(("fault", "found"), [("", False), ("tail", True)])
def test_a_planted_read_past_the_end_is_found(fault: str, found: bool) -> None:
    script = ROOT / "tests" / "campaigns" / "search.py"
    said = ["--backend", "cpu", "--sanitize", "--count", "1", "--calls", "1", "--plant", fault]
    done = run([sys.executable, script, *said, "--jobs", "1", "--from-seed", "7", "--no-ledger"])
    told = (done.stdout + done.stderr).decode()
    assert ("AddressSanitizer: heap-buffer-overflow" in told) == found, told
    assert ("0 mismatches" in told) != found, told
    assert bool(done.returncode) == found, told
