"""Fuzz the checker and the formatter: `make fuzz COUNT=100000` prints the failures.

Every text must give diagnostics or a result within five seconds of processor time and 4 GiB.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.fuzzing.broken_specs import broken_spec, check_robustness

GIGABYTE = 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (4 * GIGABYTE, 4 * GIGABYTE))
    failures, slowest, worst = 0, 0.0, -1
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        data = broken_spec(seed)
        begin = time.process_time()
        try:
            check_robustness(data)
        except Exception as error:
            failures += 1
            print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
        took = time.process_time() - begin
        if took > slowest:
            slowest, worst = took, seed
        if (seed + 1 - arguments.seed) % 5000 == 0:
            print(f"… {seed + 1 - arguments.seed} texts, {failures} failures", flush=True)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{arguments.count} texts from seed {arguments.seed}: {failures} failures")
    print(f"slowest {slowest:.2f} s (seed {worst}); peak memory {memory:.2f} GiB")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
