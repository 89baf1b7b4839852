"""Format the report of `rnnc bench`: a JSON document, or lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rnnc.runtime.benchmark.measurement.job_protocol import FirstCalls
from rnnc.runtime.benchmark.workload.candidate_names import FLOOR_NAMES

from .comparison import PASSES, Comparison

_TITLES = {"forward": "forward", "step": "training step"}


@dataclass(frozen=True)
class BenchmarkReport:
    """A comparison with measurements from separate processes.

    memory: bytes of a training step by candidate. first_calls: with an empty cache, and with a full
        one.
    missing_measurements: failed ones, with reasons.
    """

    file: str
    comparison: Comparison
    memory: Mapping[str, int]
    first_calls: tuple[FirstCalls, FirstCalls] | None
    missing_measurements: Mapping[str, str]


def to_json(report: BenchmarkReport) -> dict[str, Any]:
    """Convert the report to JSON values; ratios over 1 are slower than the base."""
    c = report.comparison
    weights = sum(p.numel for p in c.workload.graph.parameters)
    return {
        "file": report.file,
        "model": c.workload.graph.name,
        "parameters": weights,
        "steps": c.workload.steps,
        "rows": c.workload.rows,
        "machine": asdict(c.machine),
        "base": c.base,
        "contenders": {
            name: {
                "what": candidate.description,
                "floor": name in FLOOR_NAMES,
                "prepared": c.preparation_seconds[name],
                **{pass_name: _pass_to_json(c, pass_name, name) for pass_name in PASSES},
                "memory": report.memory.get(name),
            }
            for name, candidate in c.candidates.items()
        },
        "unavailable": dict(c.unavailable),
        "losses": [
            {"pass": pass_name, "to": name, "ratio": asdict(ratio)}
            for pass_name, name, ratio in c.faster_candidates
        ],
        "compile": None
        if report.first_calls is None
        else {
            name: asdict(f) for name, f in zip(("cold", "warm"), report.first_calls, strict=True)
        },
        "missing": dict(report.missing_measurements),
        "others": c.other_load,
        "doubts": c.doubts,
    }


def _pass_to_json(c: Comparison, pass_name: Any, name: str) -> dict[str, Any]:
    return {
        "seconds": asdict(c.seconds(pass_name, name)),
        "processor": asdict(c.cpu_seconds(pass_name, name)),
        "rounds": len(c.samples[pass_name][name].wall),
        "over_base": asdict(c.ratio_to_base(pass_name, name)),
        "processor_over_base": asdict(c.cpu_ratio_to_base(pass_name, name)),
    }


def format_lines(report: BenchmarkReport) -> Iterator[str]:
    """Format the report as lines of text."""
    c = report.comparison
    device = f" on {c.machine.gpu}" if c.workload.device.type == "cuda" else ""
    yield f"{report.file}: T={c.workload.steps}, B={c.workload.rows}, float32{device}; {c.machine}"
    for pass_name in PASSES:
        rounds = len(c.samples[pass_name][c.base].wall)
        title = f"{_TITLES[pass_name]}, {rounds} rounds"
        yield ""
        over = f"over {c.base}"
        yield f"{title:26}{'median':>10}{'quartiles':>17}  {over:19}{'processor':>10}  {over}"
        for name in c.candidates:
            yield _format_row(c, pass_name, name)
    yield ""
    yield from _compile_lines(report)
    if report.memory:
        parts = (f"{name} {size / 2**20:.1f} MiB" for name, size in report.memory.items())
        yield f"peak memory of a training step: {', '.join(parts)}"
    for name, candidate in c.candidates.items():
        yield f"{name} is {candidate.description}; ready after {c.preparation_seconds[name]:.1f} s"
    for name, reason in {**c.unavailable, **report.missing_measurements}.items():
        yield f"not measured: {name}: {reason}"
    for pass_name, name, ratio in c.faster_candidates:
        yield f"{c.base} loses: {_TITLES[pass_name]}, to {name} ({1 / ratio.median:.2f}× as fast)"
    yield from c.doubts


def _format_row(c: Comparison, pass_name: Any, name: str) -> str:
    seconds, processor = c.seconds(pass_name, name), c.cpu_seconds(pass_name, name)
    quartiles = f"{seconds.low * 1e3:.2f}–{seconds.high * 1e3:.2f}"
    ratio_text = cpu_text = ""
    if name != c.base:
        ratio = c.ratio_to_base(pass_name, name)
        ratio_text = f"{ratio.median:.2f}× ({ratio.low:.2f}–{ratio.high:.2f})"
        cpu_text = f"{c.cpu_ratio_to_base(pass_name, name).median:.2f}×"
    floor = " (floor)" if name in FLOOR_NAMES else ""
    return (
        f"  {name + floor:24}{seconds.median * 1e3:8.2f}ms{quartiles:>17}  {ratio_text:19}"
        f"{processor.median * 1e3:8.2f}ms  {cpu_text}"
    ).rstrip()


def _compile_lines(report: BenchmarkReport) -> Iterator[str]:
    if report.first_calls is None:
        return
    cold, warm = report.first_calls
    line = f"compile: {cold.seconds:.2f} s, from the cache {warm.seconds:.2f} s"
    if warm.other is not None:
        seconds, libraries = warm.other
        line += f", another T and B {seconds:.3f} s ({libraries} libraries built)"
    yield line
