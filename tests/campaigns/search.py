"""Compare a backend with the reference on random specs, or the reference with an oracle.

    python tests/campaigns/search.py --backend cpu --count 1500 --flags=-O3

A search continues after the last one of the same backend, options and generator in the ledger
beside this file. Each mismatch is shrunk and printed as a test.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

from campaigns import ledger
from campaigns.engines import (
    BACKENDS,
    C_FAULTS,
    compile_together,
    describe_failure,
    is_unsupported,
    sanitized_environment,
    search_environment,
)
from campaigns.shrink import Case, format_test, is_valid, shrink_case
from support.generator import random_spec
from support.generator.calls import CallConfig, random_call

CHUNK_SIZE = 12
"""Specs per task of a process, whose generated C is compiled in one file."""


PROGRESS = 250
"""Specs from one line on progress to the next."""


@dataclass(frozen=True)
class Search:
    """A search configuration."""

    backend: str
    flags: str = ""
    memory: str = ""
    calls: int = 2
    sanitize: bool = False
    plant: str = ""

    @property
    def options(self) -> dict[str, str]:
        """Options in a ledger line, besides the backend."""
        values = {"flags": self.flags, "memory": self.memory, "plant": self.plant}
        values["sanitize"] = "address,undefined" if self.sanitize else ""
        return {name: value for name, value in values.items() if value}

    @property
    def compiler_options(self) -> dict[str, str]:
        """Options of `rnnc.compile`."""
        return {"memory": self.memory} if self.memory else {}

    def environment(self, first: int) -> AbstractContextManager[None]:
        """Set up a chunk of specs; the sanitizers get float32 every other time."""
        return search_environment(
            self.backend, self.flags, sanitize=self.sanitize, plant=self.plant,
            single=self.sanitize and first // CHUNK_SIZE % 2 == 1,
        )  # fmt: skip

    def describe_failure(self, text: str, sizes: Mapping[str, int], call: CallConfig) -> str | None:
        """Describe how a call fails; sanitizers end the process on errors."""
        options = {"tolerance": math.inf} if self.sanitize else {}
        return describe_failure(self.backend, text, sizes, call, **options, **self.compiler_options)


@dataclass(frozen=True)
class SpecResult:
    """The result for one spec: validity, and the failing call with its failure."""

    seed: int
    accepted: bool
    call_number: int = 0
    failure: str = ""
    unsupported: bool = False


def examine_specs(search: Search, seeds: range) -> list[SpecResult]:
    """Run each spec with a few calls."""
    results: list[SpecResult] = []
    valid = [s for s in seeds if is_valid(random_spec(s).text, random_spec(s).sizes)]
    results += [SpecResult(seed, False) for seed in seeds if seed not in valid]
    cases = [partial(_first_failure, search, seed) for seed in valid]
    with search.environment(seeds.start):
        for seed, case in zip(valid, compile_together(cases, search.backend), strict=True):
            number, failure = case()
            refused = is_unsupported(failure)
            results.append(SpecResult(seed, True, number, "" if refused else failure, refused))
    return results


def _first_failure(search: Search, seed: int) -> tuple[int, str]:
    """Return the first failing call of a spec, and its failure."""
    spec = random_spec(seed)
    for number in range(search.calls):
        call = random_call(seed, number)
        failure = search.describe_failure(spec.text, spec.sizes, call)
        if failure is not None:
            return number, failure
    return 0, ""


def shrink_to_test(search: Search, seed: int, number: int, budget: int = 600) -> str:
    """Shrink a failing spec and call, and format it as a test."""
    spec = random_spec(seed)
    case = Case(spec.text, spec.sizes, random_call(seed, number))

    with search.environment(0):
        small = shrink_case(case, search.describe_failure, budget)
    return format_test(small, search.backend, search.compiler_options)


def run_search(search: Search, first: int, count: int, jobs: int) -> Iterator[list[SpecResult]]:
    """Run specs from a seed on until `count` are valid, in parallel processes."""
    accepted = start = 0
    if jobs == 1:
        while accepted < count:
            results = examine_specs(
                search, range(first + start, first + start + min(CHUNK_SIZE, count - accepted))
            )
            start += len(results)
            accepted += sum(f.accepted for f in results)
            yield results
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        while accepted < count:
            sizes: list[range] = []
            remaining = count - accepted
            while remaining > 0 and len(sizes) < 4 * jobs:
                sizes.append(range(first + start, first + start + min(CHUNK_SIZE, remaining)))
                start += len(sizes[-1])
                remaining -= len(sizes[-1])
            for results in pool.map(partial(examine_specs, search), sizes):
                accepted += sum(f.accepted for f in results)
                yield results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=BACKENDS, default="aten")
    parser.add_argument("--count", type=int, default=1000, help="specs that `check` accepts")
    parser.add_argument("--from-seed", type=int, help="instead of going on behind the ledger")
    parser.add_argument("--calls", type=int, default=2, help="calls of each spec")
    parser.add_argument("--flags", default="-O1", help="more flags of the C compiler (cpu)")
    parser.add_argument("--sanitize", action="store_true", help="address and undefined behaviour")
    parser.add_argument("--plant", choices=sorted(C_FAULTS), default="", help=argparse.SUPPRESS)
    parser.add_argument("--memory", default="", help="`recompute` what is cheap")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--shrink", type=int, default=3, help="mismatches that are made small")
    parser.add_argument("--no-ledger", action="store_true")
    arguments = parser.parse_args()
    flags = arguments.flags if arguments.backend == "cpu" else ""
    if arguments.sanitize and "LD_PRELOAD" not in os.environ:
        environment = sanitized_environment()
        if environment is None:
            sys.exit("the C compiler brings no libasan and libubsan: install GCC's sanitizers")
        os.execve(sys.executable, [sys.executable, "-W", "ignore", *sys.argv], environment)
    search = Search(
        arguments.backend,
        flags,
        arguments.memory,
        arguments.calls,
        arguments.sanitize,
        arguments.plant,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run(search, arguments, print))


def run(search: Search, arguments: argparse.Namespace, report: Callable[..., None]) -> int:
    """Run one search and append it to the ledger; return 1 if it found a mismatch.

    A search that is interrupted, or told to end, appends what it has done.
    """
    first = arguments.from_seed
    if first is None:
        first = ledger.next_seed(search.backend, search.options)
    begin, all_results, last = time.perf_counter(), list[SpecResult](), first - 1
    report(f"{search.backend} {search.options or ''} from seed {first}", flush=True)
    with suppress(KeyboardInterrupt):
        for results in run_search(search, first, arguments.count, arguments.jobs):
            if len(all_results) // PROGRESS < (len(all_results) + len(results)) // PROGRESS:
                minutes = (time.perf_counter() - begin) / 60
                report(f"{len(all_results) + len(results)} specs, {minutes:.0f} min", flush=True)
            all_results += results
            last = max(last, *(f.seed for f in results))
            for result in (f for f in results if f.failure):
                report(
                    f"seed {result.seed}, call {result.call_number}: {result.failure}", flush=True
                )
    failures = [f for f in all_results if f.failure]
    accepted = sum(f.accepted for f in all_results)
    refused = sum(f.unsupported for f in all_results)
    if all_results and not arguments.no_ledger:
        ledger.append_entry(
            ledger.Entry(
                search.backend, search.options, ledger.generator_version(), first, last, accepted,
                accepted - refused, tuple(f.seed for f in failures), ledger.current_commit(),
            )
        )  # fmt: skip
    for result in failures[: arguments.shrink]:
        report(
            f"\n# seed {result.seed}\n{shrink_to_test(search, result.seed, result.call_number)}",
            flush=True,
        )
    elapsed = time.perf_counter() - begin
    report(
        f"{search.backend}: {accepted} specs accepted of {len(all_results)} "
        f"(seeds {first} to {last}), "
        f"{refused} refused by the backend, {len(failures)} mismatches, {elapsed:.0f} s"
    )
    return int(bool(failures))


if __name__ == "__main__":
    main()
