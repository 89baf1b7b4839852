"""Hold a backend against the reference on random specs: part of `make fuzz`.

Each spec is called with odd T and B, ragged, reset, carried on, plain, and in evaluation; values,
states, laws and all gradients must agree in float64 to 1e-9.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import torch

from support.agreement import answers
from support.compare import assert_close
from support.specs import random_spec

TOLERANCE = 1e-9
CALLS: tuple[dict[str, Any], ...] = (
    {"steps": 5, "rows": 3, "ragged": True, "reset": True, "carry": True},
    {"steps": 4, "rows": 2},
    {"steps": 7, "rows": 1, "reset": True},
    {"steps": 3, "rows": 3, "ragged": True},
    {"steps": 1, "rows": 1, "carry": True},
    {"steps": 6, "rows": 2, "carry": True, "training": False},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", default="aten")
    parser.add_argument("--memory", default="save")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    failures, refused, begin = 0, 0, time.perf_counter()
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        spec = random_spec(seed)
        # All of a call's dimensions at once, and one of the others in turn.
        for call in (CALLS[0], CALLS[1 + seed % (len(CALLS) - 1)]):
            said = {"sizes": spec.sizes, "seed": seed, **call}
            try:
                right = answers(spec.text, "reference", **said)
                ours = answers(spec.text, arguments.backend, memory=arguments.memory, **said)
                assert_close(ours, right, TOLERANCE)
            except Exception as error:
                if "RNN501" in str(error):
                    refused += 1
                    continue
                failures += 1
                print(f"seed {seed}, {call}: {type(error).__name__}: {error}", flush=True)
        if (seed + 1 - arguments.seed) % 200 == 0:
            done = seed + 1 - arguments.seed
            print(f"… {done} specs, {failures} failures, {refused} refused", flush=True)
    took = time.perf_counter() - begin
    print(f"{arguments.count} specs, {failures} failures, {refused} calls refused, {took:.0f} s")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
