"""Hold a backend against the reference on random specs and calls, or the reference to an oracle.

    python tests/campaigns/search.py --backend cpu --count 1500 --flags=-O3

A search goes on where the last one of the same backend, options and generator ended, as the ledger
beside this file says. Each mismatch is made as small as it can be, and printed as a test.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

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

from . import ledger

CHUNK_SIZE = 12
"""Specs that one process takes at a time, and whose generated C is compiled at once."""


@dataclass(frozen=True)
class Search:
    """What is searched."""

    backend: str
    flags: str = ""
    memory: str = ""
    calls: int = 2
    sanitize: bool = False
    plant: str = ""

    @property
    def options(self) -> dict[str, str]:
        """What a ledger line says besides the backend."""
        said = {"flags": self.flags, "memory": self.memory, "plant": self.plant}
        said["sanitize"] = "address,undefined" if self.sanitize else ""
        return {name: value for name, value in said.items() if value}

    @property
    def compiler_options(self) -> dict[str, str]:
        """What `rnnc.compile` is told."""
        return {"memory": self.memory} if self.memory else {}

    def environment(self, first: int) -> AbstractContextManager[None]:
        """What holds for the specs from a seed on; the sanitizers see float32 every other time."""
        return search_environment(
            self.backend, self.flags, sanitize=self.sanitize, plant=self.plant,
            single=self.sanitize and first // CHUNK_SIZE % 2 == 1,
        )  # fmt: skip

    def describe_failure(self, text: str, sizes: Mapping[str, int], call: CallConfig) -> str | None:
        """How a case fails; the sanitizers end the process that they find something in."""
        said = {"tolerance": math.inf} if self.sanitize else {}
        return describe_failure(self.backend, text, sizes, call, **said, **self.compiler_options)


@dataclass(frozen=True)
class SpecResult:
    """What became of one spec: whether it is valid, in which call it failed and how."""

    seed: int
    accepted: bool
    call_number: int = 0
    failure: str = ""
    unsupported: bool = False


def examine_specs(search: Search, seeds: range) -> list[SpecResult]:
    """Some specs, each in a few calls."""
    found: list[SpecResult] = []
    valid = [s for s in seeds if is_valid(random_spec(s).text, random_spec(s).sizes)]
    found += [SpecResult(seed, False) for seed in seeds if seed not in valid]
    cases = [partial(_first_failure, search, seed) for seed in valid]
    with search.environment(seeds.start):
        for seed, case in zip(valid, compile_together(cases, search.backend), strict=True):
            number, way = case()
            refused = is_unsupported(way)
            found.append(SpecResult(seed, True, number, "" if refused else way, refused))
    return found


def _first_failure(search: Search, seed: int) -> tuple[int, str]:
    """The first call of a spec that fails, and how."""
    spec = random_spec(seed)
    for number in range(search.calls):
        calling = random_call(seed, number)
        way = search.describe_failure(spec.text, spec.sizes, calling)
        if way is not None:
            return number, way
    return 0, ""


def shrink_to_test(search: Search, seed: int, number: int, budget: int = 600) -> str:
    """A failing spec and call as the smallest test that fails in the same way."""
    spec = random_spec(seed)
    case = Case(spec.text, spec.sizes, random_call(seed, number))

    with search.environment(0):
        small = shrink_case(case, search.describe_failure, budget)
    return format_test(small, search.backend, search.compiler_options)


def run_search(search: Search, first: int, count: int, jobs: int) -> Iterator[list[SpecResult]]:
    """Specs from a seed on until `count` of them are accepted, in as many processes as cores."""
    accepted = start = 0
    if jobs == 1:
        while accepted < count:
            found = examine_specs(
                search, range(first + start, first + start + min(CHUNK_SIZE, count - accepted))
            )
            start += len(found)
            accepted += sum(f.accepted for f in found)
            yield found
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        while accepted < count:
            sizes: list[range] = []
            left = count - accepted
            while left > 0 and len(sizes) < 4 * jobs:
                sizes.append(range(first + start, first + start + min(CHUNK_SIZE, left)))
                start += len(sizes[-1])
                left -= len(sizes[-1])
            for found in pool.map(partial(examine_specs, search), sizes):
                accepted += sum(f.accepted for f in found)
                yield found


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
    said = parser.parse_args()
    flags = said.flags if said.backend == "cpu" else ""
    if said.sanitize and "LD_PRELOAD" not in os.environ:
        environment = sanitized_environment()
        if environment is None:
            sys.exit("the C compiler brings no libasan and libubsan: install GCC's sanitizers")
        os.execve(sys.executable, [sys.executable, "-W", "ignore", *sys.argv], environment)
    search = Search(said.backend, flags, said.memory, said.calls, said.sanitize, said.plant)
    sys.exit(run(search, said, print))


def run(search: Search, said: argparse.Namespace, tell: Callable[..., None]) -> int:
    """One search, to its line in the ledger; 1 where something was found."""
    first = said.from_seed
    if first is None:
        first = ledger.next_seed(search.backend, search.options)
    begin, done, last = time.perf_counter(), list[SpecResult](), first - 1
    tell(f"{search.backend} {search.options or ''} from seed {first}", flush=True)
    for found in run_search(search, first, said.count, said.jobs):
        done += found
        last = max(last, *(f.seed for f in found))
        for failed in (f for f in found if f.failure):
            tell(f"seed {failed.seed}, call {failed.call_number}: {failed.failure}", flush=True)
    failures = [f for f in done if f.failure]
    for failed in failures[: said.shrink]:
        tell(
            f"\n# seed {failed.seed}\n{shrink_to_test(search, failed.seed, failed.call_number)}",
            flush=True,
        )
    accepted = sum(f.accepted for f in done)
    refused = sum(f.unsupported for f in done)
    if not said.no_ledger:
        ledger.append_entry(
            ledger.Entry(
                search.backend, search.options, ledger.generator_version(), first, last, accepted,
                accepted - refused, tuple(f.seed for f in failures), ledger.current_commit(),
            )
        )  # fmt: skip
    took = time.perf_counter() - begin
    tell(
        f"{search.backend}: {accepted} specs accepted of {len(done)} (seeds {first} to {last}), "
        f"{refused} refused by the backend, {len(failures)} mismatches, {took:.0f} s"
    )
    return int(bool(failures))


if __name__ == "__main__":
    main()
