"""What happens once: first calls, peak memory, and the latency of one step."""

from __future__ import annotations

from functools import partial

import torch

import rnnc
from performance.sections.markdown import Section
from performance.sections.session import Session, compile_workload
from performance.sections.specs import LSTM
from rnnc.runtime.benchmark.measurement.interleaved import run_interleaved
from rnnc.runtime.benchmark.measurement.statistics import summarize, summarize_ratios
from rnnc.runtime.benchmark.measurement.subprocess_job import (
    FirstCalls,
    measure_first_calls,
    measure_step_memory,
)
from rnnc.runtime.benchmark.workload.candidate import Unavailable

CALLS = 50
"""Steps in one measurement of the latency."""


def compiling(session: Session) -> Section:
    """First training steps with an empty cache and with a full one, and at another T and B."""
    table, rows = Section(), []
    asked = [(n, "cpu") for n in ("lstm", "dots_rnn")]
    asked += [("lstm", "aten"), ("lstm", "jax"), ("lstm", "compiled-cell")]
    for name, contender in session.select_rows(asked):
        its = compile_workload(f"zoo:{name}", 100, 16)
        try:
            cold, warm = measure_first_calls(its, contender)
        except Unavailable as error:
            session.unavailable[f"{contender} of {name}"] = str(error)
            continue
        rows.append(
            [
                name,
                contender,
                _format_seconds(cold),
                _format_seconds(warm),
                _format_resize_cost(warm),
            ]
        )
        session.report_progress(" ".join(rows[-1]))
    head = ["model", "runs on", "cold, s", "from the cache, s", "another T and B"]
    table.add_table(head, rows)
    return table


def _format_seconds(found: FirstCalls) -> str:
    return f"{found.seconds:.2f}"


def _format_resize_cost(found: FirstCalls) -> str:
    if found.other is None:
        return "compiles anew"
    return f"{found.other[0] * 1e3:.1f} ms, {found.other[1]} compilations"


def memory(session: Session) -> Section:
    """Peak memory of a training step of an LSTM layer."""
    table, rows = Section(), []
    names = ("cpu", "torch.nn", "aten", "reference", "jax")
    for hidden, batch in session.select_rows(((256, 32), (512, 32))):
        its = compile_workload(LSTM, 100, batch, hidden=hidden)
        found: dict[str, int] = {}
        for name in names:
            try:
                found[name] = measure_step_memory(its, name)
            except Unavailable as error:
                session.unavailable[f"memory of {name}"] = str(error)
        base = found.get("torch.nn")
        cells = [
            f"{found[n] / 2**20:.1f} MiB" + (f" ({found[n] / base:.2f})" if base else "")
            if n in found
            else "–"
            for n in names
        ]
        rows.append([str(hidden), str(batch), *cells])
        session.report_progress(" ".join(rows[-1]))
    table.add_table(["H", "B", "`cpu`", "torch.nn", "`aten`", "`reference`", "JAX"], rows)
    return table


def latency(session: Session) -> Section:
    """`model.step` of an LSTM for one row, as in streaming."""
    table, rows = Section(), []
    for hidden in session.select_rows((256, 512)):
        x = torch.rand(1, 88)
        ways = {}
        for name in ("cpu", "aten", "reference"):
            model = rnnc.compile(LSTM, hidden=hidden, backend=name).eval()
            ways[f"`{name}`"] = partial(_stream, model.step, x, model.initial_state(1))
        zero = torch.zeros(1, hidden)
        cell = torch.nn.LSTMCell(88, hidden)
        ways["nn.LSTMCell"] = partial(_stream_cell, cell, x, (zero, zero))
        layer = torch.nn.LSTM(88, hidden)
        ways["nn.LSTM, T = 1"] = partial(_stream, layer, x[None], (zero[None], zero[None]))
        times = run_interleaved(ways, session.rounds, budget=session.seconds)
        base = times["`cpu`"].wall
        for name, samples in times.items():
            found, over = summarize(samples.wall), summarize_ratios(samples.wall, base)
            micro = [f"{v / CALLS * 1e6:.0f}" for v in (found.median, found.low, found.high)]
            rows.append(
                [str(hidden), name, f"{micro[0]} ({micro[1]}–{micro[2]})", f"{over.median:.2f}"]
            )
            if over.median < 1:
                session.slower_rows.append(f"a step of H={hidden}, to {name} ({over.median:.2f})")
    table.add_table(["H", "", "a step, µs", "ratio to `cpu`"], rows)
    return table


def _stream(step, x, state):
    with torch.no_grad():
        for _ in range(CALLS):
            _, state = step(x, state)


def _stream_cell(cell, x, state):
    with torch.no_grad():
        for _ in range(CALLS):
            state = cell(x, state)
