"""Tables of whole networks: layers, deep transitions, cells, scans, the paper's, DeepBench's."""

from __future__ import annotations

import os

from performance.sections.markdown import Table
from performance.sections.session import TITLES, Session, milliseconds, over
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
from rnnc.compiler.backends.cpu.execution.gemm_autotune import VARIABLE
from rnnc.runtime.benchmark.baselines.backends import backend
from rnnc.runtime.benchmark.comparison import PASSES
from rnnc.runtime.benchmark.workload.candidate import Contender, Maker
from rnnc.runtime.benchmark.workload.workload import Case

FLOORS = ("products", "peak")


def layers(session: Session) -> Table:
    """A layer against torch.nn's and JAX's, with both floors."""
    table = Table()
    rivals = ("torch.nn", "jax", "aten", *FLOORS)
    found = {
        (kind, *size): session.compare(spec, size[2], size[1], ("cpu", *rivals), hidden=size[0])
        for kind, spec in LAYERS.items()
        for size in session.some(LAYER_SIZES)
    }
    for what in PASSES:
        rows = [
            [*map(str, key), milliseconds(c, what, "cpu"), *(over(c, what, r) for r in rivals)]
            for key, c in found.items()
        ]
        head = ["layer", "H", "B", "T", "`cpu`, ms", "torch.nn", "JAX", "`aten`", *FLOORS]
        table.add(head, rows, f"The {TITLES[what]}; rivals and floors as ratios to `cpu`:")
    for (kind, h, b, t), c in found.items():
        session.lose(f"{kind} H={h} B={b} T={t}", c)
    return table


def transitions(session: Session) -> Table:
    """DT(S) against its loop in plain PyTorch."""
    table, rows = Table(), []
    rivals = ("reference", "aten", *FLOORS)
    for hidden, batch in session.some(TRANSITION_SIZES):
        found = session.compare("zoo:dts_rnn", 100, batch, ("cpu", *rivals), hidden=hidden)
        for what in PASSES:
            times = [milliseconds(found, what, "cpu"), *(over(found, what, r) for r in rivals)]
            rows.append([TITLES[what], str(hidden), str(batch), *times])
        session.lose(f"DT(S) H={hidden} B={batch}", found)
    table.add(["pass", "H", "B", "`cpu`, ms", "`reference`", "`aten`", *FLOORS], rows)
    return table


def cells(session: Session) -> Table:
    """Cells of the zoo against the same cell compiled by torch, in a loop in Python."""
    import torch._dynamo

    table, rows, compiled = Table(), [], []
    rivals = ("compiled-cell", "reference", "aten")
    for name in session.some(CELLS):
        torch._dynamo.reset()
        found = session.compare(f"zoo:{name}", 100, 8, ("cpu", *rivals), hidden=128)
        for what in PASSES:
            times = [milliseconds(found, what, "cpu"), *(over(found, what, r) for r in rivals)]
            rows.append([name, TITLES[what], *times])
        session.lose(name, found)
        ready = found.prepared.get("compiled-cell", 0.0)
        compiled.append(f"{name} {ready:.1f} s")
    torch._dynamo.reset()
    table.add(
        ["cell", "pass", "`cpu`, ms", "torch.compile of the cell", "`reference`", "`aten`"], rows
    )
    table.say(f"Until torch.compile had run a first training step: {', '.join(compiled)}.")
    return table


def paper(session: Session) -> Table:
    """The networks of Pascanu et al. (2014), Table 1."""
    table, rows = Table(), []
    rivals = ("reference", "aten", *FLOORS)
    for size in session.some(PAPER):
        found = session.compare(size.spec, size.steps, 16, ("cpu", *rivals), **size.parameters)
        times = [
            milliseconds(found, "forward", "cpu"),
            milliseconds(found, "step", "cpu"),
            *(over(found, "step", rival) for rival in rivals),
        ]
        rows.append([size.data, size.network, f"{size.weights:,}", str(size.steps), *times])
        session.lose(f"{size.data}, {size.network}", found)
    head = ["data", "network", "weights", "T", "forward, ms", "step, ms"]
    table.add([*head, "step: `reference`", "`aten`", *FLOORS], rows)
    return table


def words(session: Session) -> Table:
    """Outputs for 10,000 words: products measured, by generated code alone, and by torch alone."""
    table, rows = Table(), []
    ways = {"own": "own products", "torch": "torch's products"}
    for name, parameters, batch, steps in session.some(WORDS):
        makers = [(title, _settled(way, title)) for way, title in ways.items()]
        names = ("cpu", *makers, "aten", "products")
        found = session.compare(f"zoo:{name}", steps, batch, names, **parameters)
        for what in PASSES:
            others = (*ways.values(), "aten", "products")
            times = [milliseconds(found, what, "cpu"), *(over(found, what, r) for r in others)]
            rows.append([name, str(batch), str(steps), TITLES[what], *times])
        session.lose(name, found)
    head = ["network", "B", "T", "pass", "`cpu`, ms", *ways.values(), "`aten`", "products"]
    table.add(head, rows)
    return table


def _settled(way: str, called: str) -> Maker:
    """The backend `cpu` with all products of one way: it is settled when a size is first met."""

    def make(case: Case) -> Contender:
        before = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = way
        try:
            made = backend("cpu", called=called)(case)
            made.forward()
            made.step()
        finally:
            os.environ.pop(VARIABLE)
            if before is not None:
                os.environ[VARIABLE] = before
        return made

    return make


def deepbench(session: Session) -> Table:
    """Layers of DeepBench's training set."""
    table, rows = Table(), []
    kinds = {"vanilla": "RNN", "lstm": "LSTM", "gru": "GRU"}
    rivals = ("torch.nn", "aten", *FLOORS)
    for kind, hidden, batch, steps in session.some(DEEPBENCH):
        spec = LAYERS[kinds[kind]]
        names = ("cpu", *rivals)
        found = session.compare(spec, steps, batch, names, hidden=hidden, inputs=hidden)
        times = [
            milliseconds(found, "forward", "cpu"),
            milliseconds(found, "step", "cpu"),
            over(found, "forward", "torch.nn"),
            *(over(found, "step", rival) for rival in rivals),
        ]
        rows.append([kind, str(hidden), str(batch), str(steps), *times])
        session.lose(f"{kind} H={hidden} B={batch} T={steps}", found)
    head = ["cell", "H", "B", "T", "forward, ms", "step, ms", "forward: torch.nn"]
    table.add([*head, "step: torch.nn", "`aten`", *FLOORS], rows)
    return table


def scans(session: Session) -> Table:
    """Linear recurrences as scans, and as loops that know nothing of it."""
    table, rows = Table(), []
    for name in session.some(SCANS):
        looped = backend("cpu", called="as a loop", without=("scan",))
        names = ("cpu", ("as a loop", looped), "aten", "reference")
        found = session.compare(f"zoo:{name}", 100, 16, names, hidden=200)
        for what in PASSES:
            others = ("as a loop", "aten", "reference")
            times = [milliseconds(found, what, "cpu"), *(over(found, what, r) for r in others)]
            rows.append([name, TITLES[what], *times])
        session.lose(name, found)
    table.add(["cell", "pass", "`cpu`, ms", "as a loop", "`aten`", "`reference`"], rows)
    return table
