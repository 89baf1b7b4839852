"""The tables of docs/performance.md: sizes, format, and positions in the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import rnnc
from performance.sections import first_calls, networks, scaling, specs
from performance.sections.markdown import Section, fill_sections, section_names
from performance.sections.registry import SECTIONS
from performance.sections.session import Session, compile_workload, format_median, format_ratio
from performance.sections.sizes import CELLS, DEEPBENCH, LAYER_SIZES, PAPER, SCANS
from rnnc.operators.sources.zoo import zoo_names
from rnnc.runtime.benchmark.baselines.gemm_floor import make_plan, required_gemms, total_flops
from rnnc.runtime.benchmark.baselines.torch_layers import match_torch_layers, torch_layers
from rnnc.runtime.benchmark.correctness import compute_reference, describe_mismatch
from rnnc.runtime.benchmark.measurement.job_protocol import FirstCalls
from rnnc.runtime.benchmark.workload.candidate import Candidate
from support.processes.commands import ROOT

from . import tables

PAGE = ROOT / "docs" / "performance.md"


def test_a_section_takes_its_place_and_no_other() -> None:
    page = "a\n<!-- begin one -->\nold\n<!-- end one -->\nb\n<!-- begin two -->\n<!-- end two -->\n"
    new = fill_sections(page, {"one": "| \\1 |"})
    assert new == page.replace("old", "| \\1 |")
    assert fill_sections(new, {"one": "old"}) == page
    assert section_names(page) == ["one", "two"]


PAIR = "<!-- begin one --><!-- end one -->"


@pytest.mark.parametrize("page", ["", "<!-- begin one -->", PAIR * 2])
def test_a_page_without_a_place_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="expected one pair of markers for 'one'"):
        fill_sections(page, {"one": "text"})


def test_a_table_is_markdown() -> None:
    table = Section()
    table.add_table(["a", "b"], [["1", "2"]], "Two figures:")
    assert table.text() == "Two figures:\n\n| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_every_section_has_a_place_in_the_page() -> None:
    assert sorted(section_names(PAGE.read_text(encoding="utf-8"))) == sorted(SECTIONS)


def test_the_command_fills_in_what_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- begin scans -->\n<!-- end scans -->\n", encoding="utf-8")
    monkeypatch.setattr(tables, "PAGE", page)
    monkeypatch.setattr(tables, "SECTIONS", {"scans": a_section})
    threads = str(torch.get_num_threads())
    tables.main(["--quick", "--threads", threads])
    assert "| 1 |" in capsys.readouterr().out
    tables.main(["scans", "--write", "--threads", threads])
    text = page.read_text(encoding="utf-8")
    assert f"`python tests/performance/tables.py scans --threads {threads}`: 20" in text
    assert text.count("| 1 |") == 1


def a_section(session: Session) -> Section:
    table = Section()
    table.add_table(["figure"], [["1"]])
    return table


@pytest.mark.parametrize(
    ("words", "why"),
    [(["nothing"], "no section 'nothing'"), (["--threads", "0"], "expected at least one thread")],
)
def test_wrong_usage(words: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        tables.main(words)
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("size", PAPER, ids=lambda size: f"{size.data} {size.network}")
def test_the_paper_counts_the_same_weights(size: Any) -> None:
    graph = rnnc.compile(size.spec, backend="reference", **size.parameters).graph
    assert sum(p.numel for p in graph.parameters if p.is_matrix) == size.weights


def test_cells_are_of_the_zoo_and_sizes_are_sane() -> None:
    assert {*CELLS, *SCANS} <= set(zoo_names())
    assert {kind for kind, *_ in DEEPBENCH} == {"vanilla", "lstm", "gru"}
    assert all(128 <= h <= 512 and 16 <= b <= 64 and 100 <= t <= 200 for h, b, t in LAYER_SIZES)


@pytest.mark.parametrize("kind", specs.LAYERS)
def test_a_lone_layer_is_one_of_torch(kind: str) -> None:
    workload = compile_workload(specs.LAYERS[kind], 4, 2, hidden=6, inputs=5)
    assert type(match_torch_layers(workload).module).__name__ == kind
    assert describe_mismatch(torch_layers(workload), compute_reference(workload)) == ""


@pytest.mark.parametrize("name", specs.LOOPS)
def test_a_lone_loop_holds_all_products(name: str) -> None:
    spec, products = specs.LOOPS[name]
    T, B, H = 5, 3, 8
    workload = compile_workload(spec, T, B, hidden=H)
    assert total_flops(required_gemms(workload, training=False)) == 2 * T * B * H * H * products
    assert total_flops(required_gemms(workload, training=True)) == 4 * T * B * H * H * products
    plan = make_plan(workload.graph, training=True)
    assert {p.kind for p in plan.phases if plan.phase_cost(p).matmul_flops} == {"loop"}


def quick() -> Session:
    return Session(rounds=2, seconds=0.0, quick=True)


def test_a_row_holds_a_ratio_to_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "TRANSITION_SIZES", ((8, 2),))
    session = quick()
    table = networks.transitions(session)
    head, _, *rows = table.text().splitlines()
    assert head.count("|") == rows[0].count("|") == 9
    assert [row.split(" | ")[0] for row in rows] == ["| forward", "| training step"]
    assert all("(" in row for row in rows)


def test_losses_absences_and_busy_machines_are_remarked() -> None:
    session = quick()
    workload = compile_workload(specs.RNN, 2, 2, hidden=4)
    comparison = session.compare(
        specs.RNN, 2, 2, ("aten", ("nothing", lambda workload: idle("nothing"))), hidden=4
    )
    assert comparison.workload.graph.name == workload.graph.name
    session.record_slower_rows("a row", comparison)
    session.compare("zoo:dts_rnn", 2, 2, ("aten", "torch.nn"), hidden=4)
    session.other_load = [1.5]
    losing, absent, busy = session.take_remarks()
    assert losing.startswith("Rows that lose: a row: ")
    assert "to nothing (0." in losing
    assert absent.startswith("Not measured: torch.nn, its operators are no layers")
    assert "**The machine was busy**: other programs used up to 1.5 of" in busy
    assert session.take_remarks() == ["No row loses."]


def test_a_row_without_its_base_has_no_figures() -> None:
    session = quick()
    comparison = session.compare("zoo:dts_rnn", 2, 2, ("torch.nn", "aten"), hidden=4)
    assert (
        format_median(comparison, "step", "aten") == format_ratio(comparison, "step", "aten") == "–"
    )
    session.record_slower_rows("a row", comparison)
    assert session.take_remarks()[0] == "No row loses."


def idle(name: str) -> Candidate:
    return Candidate(name, "", lambda: None, lambda: None, None)


def test_a_candidate_that_is_wrong_is_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    from performance.sections import session as measuring

    monkeypatch.setattr(measuring, "describe_mismatch", lambda candidate, right: "all is off")
    with pytest.raises(ValueError, match="aten: all is off"):
        quick().make_candidate("aten", compile_workload(specs.RNN, 2, 2, hidden=4))


def test_loops_are_shares_of_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "LOOPS", {"tanh RNN": specs.LOOPS["tanh RNN"]})
    monkeypatch.setattr(scaling, "LOOP_SIZES", ((16, 2),))
    *_, row = scaling.loops(quick()).text().splitlines()
    assert row.startswith("| tanh RNN | 16 | 2 | ")
    assert row.count("%") + 3 * row.count("nan") >= 6


def test_first_calls_and_memory_make_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = FirstCalls(1.25, 2, (0.0, 0)), FirstCalls(0.05, 0, (0.001, 0))
    monkeypatch.setattr(first_calls, "measure_first_calls", lambda workload, name: calls)
    monkeypatch.setattr(first_calls, "measure_step_memory", lambda workload, name: 2**20)
    assert (
        "| lstm | cpu | 1.25 | 0.05 | 1.0 ms, 0 compilations |"
        in first_calls.compiling(quick()).text()
    )
    assert "| 256 | 32 | 1.0 MiB (1.00) |" in first_calls.memory(quick()).text()


def test_a_stream_of_steps_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_calls, "CALLS", 1)
    text = first_calls.latency(quick()).text()
    assert "| 256 | `cpu` | " in text
    assert "| 256 | nn.LSTMCell | " in text
    assert torch.is_grad_enabled()
