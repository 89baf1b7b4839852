"""Measure diagnostics of single-token mistakes in valid specs, for `make mutations`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.fuzzing.token_mutations import check_mutation, mutate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    outcomes = [
        check_mutation(mutate(s)) for s in range(arguments.seed, arguments.seed + arguments.count)
    ]
    reported = [o for o in outcomes if o.diagnostics]
    on_line = sum(o.on_line for o in reported)
    noisy = sum(o.diagnostics > 2 for o in outcomes)
    print(f"{len(outcomes)} single-token mutations of valid specs, seeds from {arguments.seed}")
    print(
        f"{len(outcomes) - len(reported)} are still valid specs, and {len(reported)} are reported"
    )
    print(f"{sum(o.diagnostics == 1 for o in outcomes)} give one diagnostic")
    print(f"{noisy} give more than two, at most {max(o.diagnostics for o in outcomes)}")
    print(f"{on_line} of {len(reported)} ({on_line / len(reported):.1%}) point first at the slip")


if __name__ == "__main__":
    main()
