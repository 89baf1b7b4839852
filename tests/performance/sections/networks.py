"""Tables of whole networks: layers, deep transitions, cells, scans, paper, DeepBench."""

from __future__ import annotations

import os

from performance.sections.markdown import Section
from performance.sections.session import TITLES, Session, format_median, format_ratio
from performance.sections.sizes import (
    CELLS,
    DEEPBENCH,
    LAYER_SIZES,
    PAPER,
    SCANS,
    TRANSITION_SIZES,
    WORDS,
)
from performance.sections.specs import LAYERS
from rnnc.compiler.backends.cpu.execution.gemm_autotune import ENVIRONMENT_VARIABLE
from rnnc.runtime.benchmark.baselines.backends import backend_candidate
from rnnc.runtime.benchmark.comparison import PASSES
from rnnc.runtime.benchmark.workload.candidate import Candidate, CandidateFactory
from rnnc.runtime.benchmark.workload.workload import Workload

FLOORS = ("products", "peak")


def layers(session: Session) -> Section:
    """Time layers against torch.nn and JAX, with both floors."""
    table = Section()
    others = ("torch.nn", "jax", "aten", *FLOORS)
    comparisons = {
        (kind, *size): session.compare(spec, size[2], size[1], ("cpu", *others), hidden=size[0])
        for kind, spec in LAYERS.items()
        for size in session.select_rows(LAYER_SIZES)
    }
    for pass_name in PASSES:
        rows = [
            [
                *map(str, key),
                format_median(c, pass_name, "cpu"),
                *(format_ratio(c, pass_name, r) for r in others),
            ]
            for key, c in comparisons.items()
        ]
        head = ["layer", "H", "B", "T", "`cpu`, ms", "torch.nn", "JAX", "`aten`", *FLOORS]
        table.add_table(
            head, rows, f"The {TITLES[pass_name]}; rivals and floors as ratios to `cpu`:"
        )
    for (kind, h, b, t), c in comparisons.items():
        session.record_slower_rows(f"{kind} H={h} B={b} T={t}", c)
    return table


def transitions(session: Session) -> Section:
    """Time DT(S)-RNN against its loop in plain PyTorch."""
    table, rows = Section(), []
    others = ("reference", "aten", *FLOORS)
    for hidden, batch in session.select_rows(TRANSITION_SIZES):
        comparison = session.compare("zoo:dts_rnn", 100, batch, ("cpu", *others), hidden=hidden)
        for pass_name in PASSES:
            times = [
                format_median(comparison, pass_name, "cpu"),
                *(format_ratio(comparison, pass_name, r) for r in others),
            ]
            rows.append([TITLES[pass_name], str(hidden), str(batch), *times])
        session.record_slower_rows(f"DT(S) H={hidden} B={batch}", comparison)
    table.add_table(["pass", "H", "B", "`cpu`, ms", "`reference`", "`aten`", *FLOORS], rows)
    return table


def cells(session: Session) -> Section:
    """Time zoo cells against the same cell compiled by torch, in a Python loop."""
    import torch._dynamo

    table, rows, compiled = Section(), [], []
    others = ("compiled-cell", "reference", "aten")
    for name in session.select_rows(CELLS):
        torch._dynamo.reset()
        comparison = session.compare(f"zoo:{name}", 100, 8, ("cpu", *others), hidden=128)
        for pass_name in PASSES:
            times = [
                format_median(comparison, pass_name, "cpu"),
                *(format_ratio(comparison, pass_name, r) for r in others),
            ]
            rows.append([name, TITLES[pass_name], *times])
        session.record_slower_rows(name, comparison)
        seconds = comparison.preparation_seconds.get("compiled-cell", 0.0)
        compiled.append(f"{name} {seconds:.1f} s")
    torch._dynamo.reset()
    table.add_table(
        ["cell", "pass", "`cpu`, ms", "torch.compile of the cell", "`reference`", "`aten`"], rows
    )
    table.add_paragraph(
        f"Until torch.compile had run a first training step: {', '.join(compiled)}."
    )
    return table


def paper(session: Session) -> Section:
    """Time the networks of Pascanu et al. (2014), Table 1."""
    table, rows = Section(), []
    others = ("reference", "aten", *FLOORS)
    for size in session.select_rows(PAPER):
        comparison = session.compare(size.spec, size.steps, 16, ("cpu", *others), **size.parameters)
        times = [
            format_median(comparison, "forward", "cpu"),
            format_median(comparison, "step", "cpu"),
            *(format_ratio(comparison, "step", other) for other in others),
        ]
        rows.append([size.data, size.network, f"{size.weights:,}", str(size.steps), *times])
        session.record_slower_rows(f"{size.data}, {size.network}", comparison)
    head = ["data", "network", "weights", "T", "forward, ms", "step, ms"]
    table.add_table([*head, "step: `reference`", "`aten`", *FLOORS], rows)
    return table


def words(session: Session) -> Section:
    """Time outputs for 10,000 words: matmuls autotuned, generated only, and torch's only."""
    table, rows = Section(), []
    choices = {"own": "own products", "torch": "torch's products"}
    for name, parameters, batch, steps in session.select_rows(WORDS):
        factories = [(title, _with_gemm_choice(choice, title)) for choice, title in choices.items()]
        names = ("cpu", *factories, "aten", "products")
        comparison = session.compare(f"zoo:{name}", steps, batch, names, **parameters)
        for pass_name in PASSES:
            others = (*choices.values(), "aten", "products")
            times = [
                format_median(comparison, pass_name, "cpu"),
                *(format_ratio(comparison, pass_name, r) for r in others),
            ]
            rows.append([name, str(batch), str(steps), TITLES[pass_name], *times])
        session.record_slower_rows(name, comparison)
    head = ["network", "B", "T", "pass", "`cpu`, ms", *choices.values(), "`aten`", "products"]
    table.add_table(head, rows)
    return table


def _with_gemm_choice(choice: str, label: str) -> CandidateFactory:
    """Return a factory for `cpu` with all matmuls forced to one choice."""

    def make(workload: Workload) -> Candidate:
        before = os.environ.get(ENVIRONMENT_VARIABLE)
        os.environ[ENVIRONMENT_VARIABLE] = choice
        try:
            candidate = backend_candidate("cpu", label=label)(workload)
            candidate.forward()
            candidate.step()
        finally:
            os.environ.pop(ENVIRONMENT_VARIABLE)
            if before is not None:
                os.environ[ENVIRONMENT_VARIABLE] = before
        return candidate

    return make


def deepbench(session: Session) -> Section:
    """Time layers of DeepBench's training set."""
    table, rows = Section(), []
    kinds = {"vanilla": "RNN", "lstm": "LSTM", "gru": "GRU"}
    others = ("torch.nn", "aten", *FLOORS)
    for kind, hidden, batch, steps in session.select_rows(DEEPBENCH):
        spec = LAYERS[kinds[kind]]
        names = ("cpu", *others)
        comparison = session.compare(spec, steps, batch, names, hidden=hidden, inputs=hidden)
        times = [
            format_median(comparison, "forward", "cpu"),
            format_median(comparison, "step", "cpu"),
            format_ratio(comparison, "forward", "torch.nn"),
            *(format_ratio(comparison, "step", other) for other in others),
        ]
        rows.append([kind, str(hidden), str(batch), str(steps), *times])
        session.record_slower_rows(f"{kind} H={hidden} B={batch} T={steps}", comparison)
    head = ["cell", "H", "B", "T", "forward, ms", "step, ms", "forward: torch.nn"]
    table.add_table([*head, "step: torch.nn", "`aten`", *FLOORS], rows)
    return table


def scans(session: Session) -> Section:
    """Time linear recurrences as scans and as loops."""
    table, rows = Section(), []
    for name in session.select_rows(SCANS):
        loop_candidate = backend_candidate("cpu", label="as a loop", without=("scan",))
        names = ("cpu", ("as a loop", loop_candidate), "aten", "reference")
        comparison = session.compare(f"zoo:{name}", 100, 16, names, hidden=200)
        for pass_name in PASSES:
            others = ("as a loop", "aten", "reference")
            times = [
                format_median(comparison, pass_name, "cpu"),
                *(format_ratio(comparison, pass_name, r) for r in others),
            ]
            rows.append([name, TITLES[pass_name], *times])
        session.record_slower_rows(name, comparison)
    table.add_table(["cell", "pass", "`cpu`, ms", "as a loop", "`aten`", "`reference`"], rows)
    return table
