"""Time training steps of the aten backend against the reference loop, interleaved.

`python tests/performance/aten_speedup.py --memory` prints a Markdown table of the whole zoo:
milliseconds, the ratio, and by how much a process grows at its peak in a step.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from typing import Any

import torch

import rnnc
from rnnc.operators.sources.zoo import zoo_names

MEMORY_SCRIPT = """
import re, sys, torch
sys.path.insert(0, {folder!r})
from aten_speedup import compile_model, random_inputs, training_step

def kilobytes(field):
    return int(re.search(field + r":\\s+([0-9]+)", open("/proc/self/status").read())[1])

torch.set_num_threads({threads})
model = compile_model({name!r}, {backend!r}, {hidden})
training_step(model, random_inputs(model, 2, 1))
x = random_inputs(model, {steps}, {rows})
before = kilobytes("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
training_step(model, x)
print(kilobytes("VmHWM") - before)
"""


def compile_model(name: str, backend: str, hidden: int) -> Any:
    """Compile a zoo model, with the given width if its header has that parameter."""
    torch.manual_seed(0)
    try:
        return rnnc.compile(f"zoo:{name}", backend=backend, hidden=hidden)
    except rnnc.RnnError:
        return rnnc.compile(f"zoo:{name}", backend=backend)


def random_inputs(model: Any, steps: int, rows: int) -> tuple[torch.Tensor, ...]:
    inputs = []
    for variable in model.graph.inputs:
        if variable.type.kind == "symbol":
            inputs.append(torch.randint(0, variable.type.size, (steps, rows)))
        else:
            inputs.append(torch.rand(steps, rows, variable.type.size))
    return tuple(inputs)


def training_step(model: Any, x: tuple[torch.Tensor, ...]) -> None:
    model.zero_grad(set_to_none=True)
    y, _ = model(x)
    parts = y if isinstance(y, tuple) else (y,)
    torch.stack([part.square().mean() for part in parts]).sum().backward()


def time_interleaved(
    models: list[Any], steps: int, rows: int, repeats: int
) -> tuple[float, float, float]:
    """Return the median seconds of both models, and the median ratio of adjacent steps."""
    x = random_inputs(models[0], steps, rows)
    took: list[list[float]] = [[], []]
    for repeat in range(repeats + 2):
        # Alternate, with alternating order, so that other load slows both models alike.
        for index in (0, 1) if repeat % 2 else (1, 0):
            start = time.perf_counter()
            training_step(models[index], x)
            if repeat >= 2:
                took[index].append(time.perf_counter() - start)
    ratios = [slow / fast for slow, fast in zip(*took, strict=True)]
    return statistics.median(took[0]), statistics.median(took[1]), statistics.median(ratios)


def peak_memory(name: str, backend: str, arguments: argparse.Namespace) -> float:
    """Return the megabytes by which a process grows in its first step of full size."""
    from pathlib import Path

    script = MEMORY_SCRIPT.format(
        folder=str(Path(__file__).parent),
        name=name,
        backend=backend,
        hidden=arguments.hidden,
        steps=arguments.steps,
        rows=arguments.rows,
        threads=torch.get_num_threads(),
    )
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True
    )
    return int(process.stdout) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(zoo_names()))
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--memory", action="store_true", help="measure the peak memory, too")
    arguments = parser.parse_args()
    print(
        f"B={arguments.rows} H={arguments.hidden} T={arguments.steps} float32, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print("| model | reference ms | aten ms | ratio | reference MB | aten MB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in arguments.names:
        try:
            models = [compile_model(name, b, arguments.hidden) for b in ("reference", "aten")]
        except rnnc.RnnError as error:
            print(f"| {name} | {error.diagnostics[0].message} | | | | |")
            continue
        slow, fast, ratio = time_interleaved(
            models, arguments.steps, arguments.rows, arguments.repeats
        )
        space = ["", ""]
        if arguments.memory:
            space = [f"{peak_memory(name, b, arguments):.0f}" for b in ("reference", "aten")]
        print(
            f"| {name} | {slow * 1e3:.1f} | {fast * 1e3:.1f} | {ratio:.2f} | "
            f"{space[0]} | {space[1]} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
