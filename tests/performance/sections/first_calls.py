"""Measure first calls, peak memory, and the latency of one step."""

from __future__ import annotations

from functools import partial

import torch

import rnnc
from performance.sections.markdown import Section
from performance.sections.session import Session, compile_workload
from performance.sections.specs import LSTM
from rnnc.runtime.benchmark.measurement.interleaved import run_interleaved
from rnnc.runtime.benchmark.measurement.job_protocol import FirstCalls
from rnnc.runtime.benchmark.measurement.statistics import summarize, summarize_ratios
from rnnc.runtime.benchmark.measurement.subprocess_job import (
    measure_first_calls,
    measure_step_memory,
)
from rnnc.runtime.benchmark.workload.candidate import Unavailable

CALLS = 50
"""Steps per measurement of the latency."""


def compiling(session: Session) -> Section:
    """Measure first training steps with empty and full caches, and at another T and B."""
    table, rows = Section(), []
    requests = [(n, "cpu") for n in ("lstm", "dots_rnn")]
    requests += [("lstm", "aten"), ("lstm", "jax"), ("lstm", "compiled-cell")]
    for name, candidate in session.select_rows(requests):
        workload = compile_workload(f"zoo:{name}", 100, 16)
        try:
            cold, warm = measure_first_calls(workload, candidate)
        except Unavailable as error:
            session.unavailable[f"{candidate} of {name}"] = str(error)
            continue
        rows.append(
            [
                name,
                candidate,
                _format_seconds(cold),
                _format_seconds(warm),
                _format_resize_cost(warm),
            ]
        )
        session.report_progress(" ".join(rows[-1]))
    head = ["model", "runs on", "cold, s", "from the cache, s", "another T and B"]
    table.add_table(head, rows)
    return table


def _format_seconds(calls: FirstCalls) -> str:
    return f"{calls.seconds:.2f}"


def _format_resize_cost(calls: FirstCalls) -> str:
    if calls.other is None:
        return "compiles anew"
    return f"{calls.other[0] * 1e3:.1f} ms, {calls.other[1]} compilations"


def memory(session: Session) -> Section:
    """Measure peak memory of a training step of an LSTM layer."""
    table, rows = Section(), []
    names = ("cpu", "torch.nn", "aten", "reference", "jax")
    for hidden, batch in session.select_rows(((256, 32), (512, 32))):
        workload = compile_workload(LSTM, 100, batch, hidden=hidden)
        growth: dict[str, int] = {}
        for name in names:
            try:
                growth[name] = measure_step_memory(workload, name)
            except Unavailable as error:
                session.unavailable[f"memory of {name}"] = str(error)
        base = growth.get("torch.nn")
        cells = [
            f"{growth[n] / 2**20:.1f} MiB" + (f" ({growth[n] / base:.2f})" if base else "")
            if n in growth
            else "–"
            for n in names
        ]
        rows.append([str(hidden), str(batch), *cells])
        session.report_progress(" ".join(rows[-1]))
    table.add_table(["H", "B", "`cpu`", "torch.nn", "`aten`", "`reference`", "JAX"], rows)
    return table


def latency(session: Session) -> Section:
    """Measure `model.step` of an LSTM with one row, as in streaming."""
    table, rows = Section(), []
    for hidden in session.select_rows((256, 512)):
        x = torch.rand(1, 88)
        functions = {}
        for name in ("cpu", "aten", "reference"):
            model = rnnc.compile(LSTM, hidden=hidden, backend=name).eval()
            functions[f"`{name}`"] = partial(_stream, model.step, x, model.initial_state(1))
        zero = torch.zeros(1, hidden)
        cell = torch.nn.LSTMCell(88, hidden)
        functions["nn.LSTMCell"] = partial(_stream_cell, cell, x, (zero, zero))
        layer = torch.nn.LSTM(88, hidden)
        functions["nn.LSTM, T = 1"] = partial(_stream, layer, x[None], (zero[None], zero[None]))
        times = run_interleaved(functions, session.rounds, budget=session.seconds)
        base = times["`cpu`"].wall
        for name, samples in times.items():
            latency_summary, ratio_summary = (
                summarize(samples.wall),
                summarize_ratios(samples.wall, base),
            )
            micro = [
                f"{v / CALLS * 1e6:.0f}"
                for v in (latency_summary.median, latency_summary.low, latency_summary.high)
            ]
            rows.append(
                [
                    str(hidden),
                    name,
                    f"{micro[0]} ({micro[1]}–{micro[2]})",
                    f"{ratio_summary.median:.2f}",
                ]
            )
            if ratio_summary.median < 1:
                session.slower_rows.append(
                    f"a step of H={hidden}, to {name} ({ratio_summary.median:.2f})"
                )
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
