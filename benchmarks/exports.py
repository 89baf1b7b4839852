"""Hold exported modules of random specs against the backend `cpu`, bit for bit, in `make fuzz`.

Each module is written, and called in a process in which rnnc is out of reach: with gradients of
everything on ragged batches with resets, in a plain training step, and without gradients.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import torch

import rnnc
from support.exported_calls import answer
from support.exports import case_of, check, written
from support.generator import random_spec

CALLS: tuple[dict[str, Any], ...] = (
    {"ragged": True, "reset": True, "carry": True, "embedded": True},
    {},
    {"training": False, "gradients": False, "carry": True},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    failures, begin = 0, time.perf_counter()
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                agree(seed)
        except Exception as error:
            failures += 1
            print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
    took = time.perf_counter() - begin
    print(f"{arguments.count} exported modules, {failures} failures, {took:.0f} s")
    sys.exit(1 if failures else 0)


def agree(seed: int) -> None:
    """One spec, whole."""
    spec = random_spec(seed)
    torch.manual_seed(seed)
    model = rnnc.compile(spec.text, backend="cpu", parameters=spec.sizes)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        written(model, "exported", folder)
        model = model.double() if seed % 2 else model
        cases = [case_of(model, "exported", seed, **call) for call in CALLS]
        for case in cases:
            case["right"] = answer(model, case)
        check(cases, folder)


if __name__ == "__main__":
    main()
