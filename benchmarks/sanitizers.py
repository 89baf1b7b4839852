"""Run generated C under the address and undefined-behaviour sanitizers: part of `make fuzz`.

Random specs in float32 and float64, ragged and reset, on one to three threads, forward and
backward, and some of them again without gradients. The compiler must bring the sanitizers'
runtimes (GCC's libasan and libubsan), which are loaded into a process of its own. `--plant tail`
plants a fault that must be found.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

SANITIZERS = ("-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
TOGETHER = 10
CALLS: tuple[dict[str, Any], ...] = (
    {"steps": 5, "rows": 3, "ragged": True, "reset": True, "carry": True},
    {"steps": 3, "rows": 13, "ragged": True},
    {"steps": 4, "rows": 2, "carry": True},
    {"steps": 7, "rows": 1, "reset": True},
    {"steps": 1, "rows": 1},
)
FAULTS = {
    "tail": ("n - first < LANES ? n - first : LANES", "n - first <= LANES ? n - first + 1 : LANES"),
    "none": ("", ""),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plant", choices=sorted(FAULTS), default="none")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.inside:
        sys.exit(_sanitized(sys.argv[1:]))
    run(arguments.count, arguments.seed, FAULTS[arguments.plant])


def _sanitized(arguments: list[str]) -> int:
    """This script again, in a process that the sanitizers' runtime is loaded into first."""
    found = runtimes()
    if not found:
        print("the C compiler brings no libasan and libubsan: install GCC's sanitizers")
        return 1
    environment = {
        **os.environ,
        "LD_PRELOAD": ":".join(found),
        # Python and torch keep memory until the end, and that is no fault of generated code.
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    command = [sys.executable, "-W", "ignore", __file__, "--inside", *arguments]
    done = subprocess.run(command, env=environment, check=False)
    if done.returncode:
        print(f"found something, or failed (exit status {done.returncode})")
    return int(done.returncode != 0)


def runtimes() -> list[str]:
    """The paths of libasan and libubsan, where the C compiler has both."""
    compiler, paths = os.environ.get("CC", "gcc"), []
    for name in ("libasan.so", "libubsan.so"):
        try:
            told = subprocess.run(
                [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=False
            )
        except OSError:
            return []
        path = Path(told.stdout.strip())
        if not (path.is_absolute() and path.exists()):
            return []
        paths.append(str(path.resolve()))
    return paths


def run(count: int, seed: int, fault: tuple[str, str]) -> None:
    """All specs, several to a translation unit, so that what they share is compiled once."""
    import pytest

    from rnnc.compiler.backends.cpu import build, emit
    from support import shared_unit

    begin, done, refused = time.perf_counter(), 0, 0
    shared = emit.prelude

    def prelude(*levels: Any, **options: Any) -> str:
        text = shared(*levels, **options)
        assert fault[0] in text
        return text.replace(*fault)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "FLAGS", (*build.FLAGS, *SANITIZERS))
        patch.setattr(shared_unit, "prelude", prelude)
        for start in range(seed, seed + count, TOGETHER):
            double = start // TOGETHER % 2 == 0
            seeds = range(start, min(start + TOGETHER, seed + count))
            # The warnings about random specs; the sanitizers write past Python.
            with contextlib.redirect_stderr(io.StringIO()):
                able = [spec for spec in seeds if runs(spec)]
                cases = [partial(answer, spec, double) for spec in able]
                for case in shared_unit.compiled_together(cases, patch):
                    case()
            done, refused = done + len(seeds), refused + len(seeds) - len(able)
            if done % 100 == 0:
                print(f"… {done} specs, {time.perf_counter() - begin:.0f} s", flush=True)
    took = time.perf_counter() - begin
    print(f"{done} specs from seed {seed}: no finding, {refused} refused, {took:.0f} s")


def runs(seed: int) -> bool:
    """Whether the backend has all that a spec holds."""
    import rnnc
    from rnnc.compiler.lower import Unsupported, lower
    from support.specs import random_spec

    spec = random_spec(seed)
    graph = rnnc.compile(spec.text, backend="reference", parameters=spec.sizes).graph
    try:
        lower(graph, training=True)
    except Unsupported:
        return False
    return True


def answer(seed: int, double: bool) -> None:
    """One training step of a random spec; small work is shared among threads, too."""
    import pytest
    import torch

    from rnnc.compiler.backends.cpu import geometry
    from support.agreement import answers
    from support.specs import random_spec

    spec, threads = random_spec(seed), 1 + seed % 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: threads)
        patch.setattr(geometry, "ENOUGH_FOR_TWO", 0)
        patch.setattr(geometry, "ENOUGH_TO_WAIT", 0 if seed % 2 else 10**9)
        patch.setattr(geometry, "ENOUGH_TO_PACK", 0 if seed % 4 < 2 else 10**9)
        if not double:
            patch.setattr(torch.nn.Module, "double", lambda self: self.float())
        answers(spec.text, "cpu", sizes=spec.sizes, seed=seed, **CALLS[seed % len(CALLS)])
        if seed % 5 == 4:
            again(spec.text, spec.sizes, seed)


def again(text: str, sizes: Any, seed: int) -> None:
    """The same call three times without gradients: the last one takes the short way."""
    import torch

    import rnnc
    from support import feeds

    model = rnnc.compile(text, backend="cpu", parameters=sizes).double()
    feed = feeds.feed(model, 2, 3, seed=seed)
    x = {k: v.to(next(model.parameters(), v).dtype) for k, v in feed.x.items()}
    given = tuple(v.long() if v.dim() == 2 else v for v in x.values())
    with torch.no_grad():
        for _ in range(3):
            model(given)


if __name__ == "__main__":
    main()
