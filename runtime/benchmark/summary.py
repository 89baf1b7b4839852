"""What `rnnc bench` says: one document for programs, lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rnnc.runtime.benchmark.measurement.subprocess_job import FirstCalls
from rnnc.runtime.benchmark.workload.candidate_names import FLOORS

from .comparison import PASSES, Comparison

_TITLES = {"forward": "forward", "step": "training step"}


@dataclass(frozen=True)
class Report:
    """A comparison, and what was measured in processes of their own.

    memory: bytes of a training step by contender. first: with an empty cache, and a full one.
    missing: what could not be measured, and why.
    """

    file: str
    comparison: Comparison
    memory: Mapping[str, int]
    first: tuple[FirstCalls, FirstCalls] | None
    missing: Mapping[str, str]


def document(report: Report) -> dict[str, Any]:
    """Everything as JSON has it; seconds, bytes, and ratios (over 1: slower than the base)."""
    c = report.comparison
    weights = sum(p.count for p in c.case.graph.parameters)
    return {
        "file": report.file,
        "model": c.case.graph.name,
        "parameters": weights,
        "steps": c.case.steps,
        "rows": c.case.rows,
        "machine": asdict(c.machine),
        "base": c.base,
        "contenders": {
            name: {
                "what": contender.what,
                "floor": name in FLOORS,
                "prepared": c.prepared[name],
                **{what: _measured(c, what, name) for what in PASSES},
                "memory": report.memory.get(name),
            }
            for name, contender in c.contenders.items()
        },
        "unavailable": dict(c.unavailable),
        "losses": [
            {"pass": what, "to": name, "ratio": asdict(found)} for what, name, found in c.losses
        ],
        "compile": None
        if report.first is None
        else {name: asdict(f) for name, f in zip(("cold", "warm"), report.first, strict=True)},
        "missing": dict(report.missing),
        "others": c.others,
        "doubts": c.doubts,
    }


def _measured(c: Comparison, what: Any, name: str) -> dict[str, Any]:
    return {
        "seconds": asdict(c.seconds(what, name)),
        "processor": asdict(c.processor(what, name)),
        "rounds": len(c.samples[what][name].wall),
        "over_base": asdict(c.over_base(what, name)),
        "processor_over_base": asdict(c.processor_over_base(what, name)),
    }


def lines(report: Report) -> Iterator[str]:
    """The same for people."""
    c = report.comparison
    on = f" on {c.machine.gpu}" if c.case.device.type == "cuda" else ""
    yield f"{report.file}: T={c.case.steps}, B={c.case.rows}, float32{on}; {c.machine}"
    for what in PASSES:
        rounds = len(c.samples[what][c.base].wall)
        title = f"{_TITLES[what]}, {rounds} rounds"
        yield ""
        over = f"over {c.base}"
        yield f"{title:26}{'median':>10}{'quartiles':>17}  {over:19}{'processor':>10}  {over}"
        for name in c.contenders:
            yield _row(c, what, name)
    yield ""
    yield from _compile_lines(report)
    if report.memory:
        parts = (f"{name} {size / 2**20:.1f} MiB" for name, size in report.memory.items())
        yield f"peak memory of a training step: {', '.join(parts)}"
    for name, contender in c.contenders.items():
        yield f"{name} is {contender.what}; ready after {c.prepared[name]:.1f} s"
    for name, reason in {**c.unavailable, **report.missing}.items():
        yield f"not measured: {name}: {reason}"
    for what, name, found in c.losses:
        yield f"{c.base} loses: {_TITLES[what]}, to {name} ({1 / found.median:.2f}× as fast)"
    yield from c.doubts


def _row(c: Comparison, what: Any, name: str) -> str:
    seconds, processor = c.seconds(what, name), c.processor(what, name)
    quartiles = f"{seconds.low * 1e3:.2f}–{seconds.high * 1e3:.2f}"
    over = work = ""
    if name != c.base:
        found = c.over_base(what, name)
        over = f"{found.median:.2f}× ({found.low:.2f}–{found.high:.2f})"
        work = f"{c.processor_over_base(what, name).median:.2f}×"
    floor = " (floor)" if name in FLOORS else ""
    return (
        f"  {name + floor:24}{seconds.median * 1e3:8.2f}ms{quartiles:>17}  {over:19}"
        f"{processor.median * 1e3:8.2f}ms  {work}"
    ).rstrip()


def _compile_lines(report: Report) -> Iterator[str]:
    if report.first is None:
        return
    cold, warm = report.first
    line = f"compile: {cold.seconds:.2f} s, from the cache {warm.seconds:.2f} s"
    if warm.other is not None:
        seconds, built = warm.other
        line += f", another T and B {seconds:.3f} s ({built} libraries built)"
    yield line
