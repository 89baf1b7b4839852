"""Measure cost as a function of H, B and T, and loops against the micro-kernel's peak."""

from __future__ import annotations

import torch

from performance.sections.markdown import Section
from performance.sections.session import Session, compile_workload, format_median, format_ratio
from performance.sections.sizes import SWEEPS
from performance.sections.specs import LOOPS, LSTM
from rnnc.runtime.benchmark.baselines.gemm_floor import required_gemms, total_flops
from rnnc.runtime.benchmark.baselines.peak_flops import MicroKernel
from rnnc.runtime.benchmark.measurement.interleaved import run_interleaved
from rnnc.runtime.benchmark.measurement.statistics import summarize

LOOP_SIZES = ((256, 32), (256, 64), (512, 32))
SHORT, LONG = 20, 60
"""Numbers of steps whose difference is measured; longer series fit in no cache."""


def sweeps(session: Session) -> Section:
    """Time an LSTM layer with one size growing."""
    table = Section()
    for axis, sizes in SWEEPS.items():
        rows = []
        for hidden, batch, steps in session.select_rows(sizes):
            names = ("cpu", "torch.nn", "aten", "products")
            comparison = session.compare(LSTM, steps, batch, names, hidden=hidden)
            step = (
                comparison.seconds("step", "cpu").median if comparison.candidates else float("nan")
            )
            work = total_flops(required_gemms(comparison.workload, training=True))
            rows.append(
                [
                    *(str(hidden), str(batch), str(steps)),
                    format_median(comparison, "forward", "cpu"),
                    format_median(comparison, "step", "cpu"),
                    f"{step / steps / batch * 1e6:.3g}",
                    f"{work / step / 1e9:.0f}",
                    *(format_ratio(comparison, "step", other) for other in names[1:]),
                ]
            )
            session.record_slower_rows(f"H={hidden} B={batch} T={steps}", comparison)
        head = ["H", "B", "T", "forward, ms", "step, ms", "µs a step and row", "GFLOP/s"]
        table.add_table([*head, "step: torch.nn", "`aten`", "products"], rows, f"{axis} grows:")
    return table


def loops(session: Session) -> Section:
    """Measure the cost of one more loop step against its matmuls at peak speed."""
    table, rows = Section(), []
    kernel, threads = MicroKernel(), torch.get_num_threads()
    for name, (spec, products) in LOOPS.items():
        for hidden, batch in session.select_rows(LOOP_SIZES):
            work = 2 * batch * hidden * hidden * products * (LONG - SHORT)
            functions = {"peak": lambda w=work: kernel.run(w, threads)}
            for steps in (SHORT, LONG):
                model = session.make_candidate(
                    "cpu", compile_workload(spec, steps, batch, hidden=hidden)
                )
                functions[f"forward {steps}"] = model.forward
                functions[f"step {steps}"] = model.step
            times = run_interleaved(functions, session.rounds, budget=session.seconds)
            peak = times["peak"].wall
            shares = []
            for pass_name, passes in (("forward", 1), ("step", 2)):
                long, short = (times[f"{pass_name} {t}"].wall for t in (LONG, SHORT))
                # Other load may make the short call of a round slower than the long one.
                rounds = zip(peak, long, short, strict=True)
                shares.append(
                    summarize(
                        [passes * p / (a - b) if a > b else float("nan") for p, a, b in rounds]
                    )
                )
            speed = work / summarize(peak).median / 1e9
            cells = [f"{s.median:.0%} ({s.low:.0%}–{s.high:.0%})" for s in shares]
            rows.append([name, str(hidden), str(batch), f"{speed:.0f}", *cells])
    table.add_table(["loop", "H", "B", "peak, GFLOP/s", "forward", "forward and backward"], rows)
    return table
