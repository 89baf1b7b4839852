"""How cost grows with H, B and T, and how near the loops come to the micro-kernel's peak."""

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
"""Numbers of steps whose difference is measured; longer ones do not stay in any cache."""


def sweeps(session: Session) -> Section:
    """An LSTM layer with one size growing."""
    table = Section()
    for axis, sizes in SWEEPS.items():
        rows = []
        for hidden, batch, steps in session.select_rows(sizes):
            names = ("cpu", "torch.nn", "aten", "products")
            found = session.compare(LSTM, steps, batch, names, hidden=hidden)
            step = found.seconds("step", "cpu").median if found.candidates else float("nan")
            work = total_flops(required_gemms(found.case, training=True))
            rows.append(
                [
                    *(str(hidden), str(batch), str(steps)),
                    format_median(found, "forward", "cpu"),
                    format_median(found, "step", "cpu"),
                    f"{step / steps / batch * 1e6:.3g}",
                    f"{work / step / 1e9:.0f}",
                    *(format_ratio(found, "step", rival) for rival in names[1:]),
                ]
            )
            session.record_slower_rows(f"H={hidden} B={batch} T={steps}", found)
        head = ["H", "B", "T", "forward, ms", "step, ms", "µs a step and row", "GFLOP/s"]
        table.add_table([*head, "step: torch.nn", "`aten`", "products"], rows, f"{axis} grows:")
    return table


def loops(session: Session) -> Section:
    """What one more step of a loop costs, as a part of what its products take at the peak."""
    table, rows = Section(), []
    kernel, threads = MicroKernel(), torch.get_num_threads()
    for name, (spec, products) in LOOPS.items():
        for hidden, batch in session.select_rows(LOOP_SIZES):
            work = 2 * batch * hidden * hidden * products * (LONG - SHORT)
            ways = {"peak": lambda w=work: kernel.run(w, threads)}
            for steps in (SHORT, LONG):
                model = session.make_candidate(
                    "cpu", compile_workload(spec, steps, batch, hidden=hidden)
                )
                ways[f"forward {steps}"] = model.forward
                ways[f"step {steps}"] = model.step
            times = run_interleaved(ways, session.rounds, budget=session.seconds)
            peak = times["peak"].wall
            shares = []
            for what, passes in (("forward", 1), ("step", 2)):
                long, short = (times[f"{what} {t}"].wall for t in (LONG, SHORT))
                # A round that others have disturbed may have a short call that took longer.
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
