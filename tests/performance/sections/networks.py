"""Tables of whole networks: layers, deep transitions, cells, scans, the paper's, DeepBench's."""

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
    """A layer against torch.nn's and JAX's, with both floors."""
    table = Section()
    rivals = ("torch.nn", "jax", "aten", *FLOORS)
    found = {
        (kind, *size): session.compare(spec, size[2], size[1], ("cpu", *rivals), hidden=size[0])
        for kind, spec in LAYERS.items()
        for size in session.select_rows(LAYER_SIZES)
    }
    for what in PASSES:
        rows = [
            [
                *map(str, key),
                format_median(c, what, "cpu"),
                *(format_ratio(c, what, r) for r in rivals),
            ]
            for key, c in found.items()
        ]
        head = ["layer", "H", "B", "T", "`cpu`, ms", "torch.nn", "JAX", "`aten`", *FLOORS]
        table.add_table(head, rows, f"The {TITLES[what]}; rivals and floors as ratios to `cpu`:")
    for (kind, h, b, t), c in found.items():
        session.record_slower_rows(f"{kind} H={h} B={b} T={t}", c)
    return table


def transitions(session: Session) -> Section:
    """DT(S) against its loop in plain PyTorch."""
    table, rows = Section(), []
    rivals = ("reference", "aten", *FLOORS)
    for hidden, batch in session.select_rows(TRANSITION_SIZES):
        found = session.compare("zoo:dts_rnn", 100, batch, ("cpu", *rivals), hidden=hidden)
        for what in PASSES:
            times = [
                format_median(found, what, "cpu"),
                *(format_ratio(found, what, r) for r in rivals),
            ]
            rows.append([TITLES[what], str(hidden), str(batch), *times])
        session.record_slower_rows(f"DT(S) H={hidden} B={batch}", found)
    table.add_table(["pass", "H", "B", "`cpu`, ms", "`reference`", "`aten`", *FLOORS], rows)
    return table


def cells(session: Session) -> Section:
    """Cells of the zoo against the same cell compiled by torch, in a loop in Python."""
    import torch._dynamo

    table, rows, compiled = Section(), [], []
    rivals = ("compiled-cell", "reference", "aten")
    for name in session.select_rows(CELLS):
        torch._dynamo.reset()
        found = session.compare(f"zoo:{name}", 100, 8, ("cpu", *rivals), hidden=128)
        for what in PASSES:
            times = [
                format_median(found, what, "cpu"),
                *(format_ratio(found, what, r) for r in rivals),
            ]
            rows.append([name, TITLES[what], *times])
        session.record_slower_rows(name, found)
        ready = found.preparation_seconds.get("compiled-cell", 0.0)
        compiled.append(f"{name} {ready:.1f} s")
    torch._dynamo.reset()
    table.add_table(
        ["cell", "pass", "`cpu`, ms", "torch.compile of the cell", "`reference`", "`aten`"], rows
    )
    table.add_paragraph(
        f"Until torch.compile had run a first training step: {', '.join(compiled)}."
    )
    return table


def paper(session: Session) -> Section:
    """The networks of Pascanu et al. (2014), Table 1."""
    table, rows = Section(), []
    rivals = ("reference", "aten", *FLOORS)
    for size in session.select_rows(PAPER):
        found = session.compare(size.spec, size.steps, 16, ("cpu", *rivals), **size.parameters)
        times = [
            format_median(found, "forward", "cpu"),
            format_median(found, "step", "cpu"),
            *(format_ratio(found, "step", rival) for rival in rivals),
        ]
        rows.append([size.data, size.network, f"{size.weights:,}", str(size.steps), *times])
        session.record_slower_rows(f"{size.data}, {size.network}", found)
    head = ["data", "network", "weights", "T", "forward, ms", "step, ms"]
    table.add_table([*head, "step: `reference`", "`aten`", *FLOORS], rows)
    return table


def words(session: Session) -> Section:
    """Outputs for 10,000 words: products measured, by generated code alone, and by torch alone."""
    table, rows = Section(), []
    ways = {"own": "own products", "torch": "torch's products"}
    for name, parameters, batch, steps in session.select_rows(WORDS):
        makers = [(title, _with_gemm_choice(way, title)) for way, title in ways.items()]
        names = ("cpu", *makers, "aten", "products")
        found = session.compare(f"zoo:{name}", steps, batch, names, **parameters)
        for what in PASSES:
            others = (*ways.values(), "aten", "products")
            times = [
                format_median(found, what, "cpu"),
                *(format_ratio(found, what, r) for r in others),
            ]
            rows.append([name, str(batch), str(steps), TITLES[what], *times])
        session.record_slower_rows(name, found)
    head = ["network", "B", "T", "pass", "`cpu`, ms", *ways.values(), "`aten`", "products"]
    table.add_table(head, rows)
    return table


def _with_gemm_choice(choice: str, label: str) -> CandidateFactory:
    """The backend `cpu` with all products of one way: it is settled when a size is first met."""

    def make(case: Workload) -> Candidate:
        before = os.environ.get(ENVIRONMENT_VARIABLE)
        os.environ[ENVIRONMENT_VARIABLE] = choice
        try:
            made = backend_candidate("cpu", label=label)(case)
            made.forward()
            made.step()
        finally:
            os.environ.pop(ENVIRONMENT_VARIABLE)
            if before is not None:
                os.environ[ENVIRONMENT_VARIABLE] = before
        return made

    return make


def deepbench(session: Session) -> Section:
    """Layers of DeepBench's training set."""
    table, rows = Section(), []
    kinds = {"vanilla": "RNN", "lstm": "LSTM", "gru": "GRU"}
    rivals = ("torch.nn", "aten", *FLOORS)
    for kind, hidden, batch, steps in session.select_rows(DEEPBENCH):
        spec = LAYERS[kinds[kind]]
        names = ("cpu", *rivals)
        found = session.compare(spec, steps, batch, names, hidden=hidden, inputs=hidden)
        times = [
            format_median(found, "forward", "cpu"),
            format_median(found, "step", "cpu"),
            format_ratio(found, "forward", "torch.nn"),
            *(format_ratio(found, "step", rival) for rival in rivals),
        ]
        rows.append([kind, str(hidden), str(batch), str(steps), *times])
        session.record_slower_rows(f"{kind} H={hidden} B={batch} T={steps}", found)
    head = ["cell", "H", "B", "T", "forward, ms", "step, ms", "forward: torch.nn"]
    table.add_table([*head, "step: torch.nn", "`aten`", *FLOORS], rows)
    return table


def scans(session: Session) -> Section:
    """Linear recurrences as scans, and as loops that know nothing of it."""
    table, rows = Section(), []
    for name in session.select_rows(SCANS):
        looped = backend_candidate("cpu", label="as a loop", without=("scan",))
        names = ("cpu", ("as a loop", looped), "aten", "reference")
        found = session.compare(f"zoo:{name}", 100, 16, names, hidden=200)
        for what in PASSES:
            others = ("as a loop", "aten", "reference")
            times = [
                format_median(found, what, "cpu"),
                *(format_ratio(found, what, r) for r in others),
            ]
            rows.append([name, TITLES[what], *times])
        session.record_slower_rows(name, found)
    table.add_table(["cell", "pass", "`cpu`, ms", "as a loop", "`aten`", "`reference`"], rows)
    return table
