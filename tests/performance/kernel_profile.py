"""Profile a training step of generated code, with clocks around each kernel group.

`python tests/performance/kernel_profile.py zoo:lstm --set hidden=256 --rows 32 --steps 100`. A
group is timed once as it is, and once with matmuls of depth 1 (its results then mean nothing): the
second time is that of its elementwise part and of its memory traffic. Prints medians and minima in
milliseconds.
"""

from __future__ import annotations

import argparse
import ctypes
import re
import statistics
import time

import pytest
import torch

import rnnc
from rnnc.compiler.backends.cpu.specialize.compiled_program import CompiledProgram

CALL = "((void (*)(const Frame *, long))j[2])(&f, j[3]);"
CLOCK = """
#include <time.h>
double phase_seconds[64];
int64_t phase_units[64], phase_count;
static double clock_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}
"""
TIMED_CALL = f"""{{
                const double begin = clock_now();
                {CALL}
                phase_units[phase_count % 64] = j[2];
                phase_seconds[phase_count++ % 64] = clock_now() - begin;
            }}"""
GEMM_SUBSTITUTIONS = {"all": r"\g<0>", "shallow": r"\g<1>1,"}
"""Replacements of a call of `product`; with depth 1 almost nothing of it is left."""


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args(words)
    torch.set_num_threads(arguments.threads)
    sizes = {name: int(value) for name, _, value in (s.partition("=") for s in arguments.set)}
    times_by_variant = {
        variant: time_kernels(arguments, sizes, product)
        for variant, product in GEMM_SUBSTITUTIONS.items()
    }
    for name in times_by_variant["all"]:
        times = "; ".join(
            f"{variant} {statistics.median(samples[name]):.2f} (least {min(samples[name]):.2f})"
            for variant, samples in times_by_variant.items()
        )
        print(f"{name}: {times}")


def time_kernels(
    arguments: argparse.Namespace, sizes: dict[str, int], product: str
) -> dict[str, list[float]]:
    """Return the milliseconds of each round by kernel group, and of whole steps."""
    source, times = CompiledProgram.source, dict[str, list[float]]()

    def with_clocks(self: CompiledProgram) -> str:
        text = source(self)
        assert CALL in text
        text = text.replace("void run_jobs(", f"{CLOCK}\nvoid run_jobs(", 1)
        return re.sub(
            r"(\bgemm_microkernel\(m, \d+, )\d+,", product, text.replace(CALL, TIMED_CALL)
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNNC_PRODUCTS", "own")
        patch.setattr(CompiledProgram, "source", with_clocks)
        model = rnnc.compile(arguments.file, backend="cpu", parameters=sizes)
        inputs = tuple(
            torch.rand(arguments.steps, arguments.rows, v.type.size) for v in model.graph.inputs
        )

        def step() -> None:
            model.zero_grad()
            y, _ = model(inputs)
            parts = y if isinstance(y, tuple) else (y,)
            torch.autograd.backward(parts, [torch.ones_like(part) for part in parts])

        step()
        backend = model.backends.choose(next(model.parameters()))
        [program] = (cache.program for cache in backend._programs.values())  # type: ignore[attr-defined]
        names = {
            program.function_address(group): f"kernel group {group.index}, "
            + ("backward" if group.adjoint else "forward")
            + (", one step after the other" if group.direction else ", all steps at once")
            for group in program.generated_groups
        }
        library = program.libraries[0]
        seconds = (ctypes.c_double * 64).in_dll(library, "phase_seconds")
        units = (ctypes.c_int64 * 64).in_dll(library, "phase_units")
        count = ctypes.c_int64.in_dll(library, "phase_count")
        for _ in range(arguments.rounds):
            count.value, begin = 0, time.perf_counter()
            step()
            times.setdefault("a step", []).append(1e3 * (time.perf_counter() - begin))
            for index in range(min(count.value, 64)):
                times.setdefault(names[units[index]], []).append(1e3 * seconds[index])
    return times


if __name__ == "__main__":
    main()
