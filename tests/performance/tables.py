"""Make the tables of docs/performance.md, for `make bench`.

Sections are named on the command line; by default all are made. `--write` inserts them between the
page's markers, otherwise they are printed. All of them take some twelve minutes on two idle cores;
`--quick` measures one row of each, in three.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from performance.sections.markdown import fill_sections
from performance.sections.registry import SECTIONS
from performance.sections.session import Session
from rnnc.runtime.benchmark.measurement.machine_load import LoadMonitor, describe_machine

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--write", action="store_true", help="put the sections into the page")
    parser.add_argument("--quick", action="store_true", help="one row of each table, few rounds")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args(words)
    unknown = sorted(set(arguments.names) - set(SECTIONS))
    if unknown:
        parser.error(f"no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    if arguments.threads < 1:
        parser.error(f"expected at least one thread, got {arguments.threads}")
    torch.set_num_threads(arguments.threads)
    begin = time.perf_counter()
    chosen = [name for name in SECTIONS if name in (arguments.names or SECTIONS)]
    for name in chosen:
        text = make_section(name, arguments)
        # Write each section at once, so that an interrupted run keeps the finished ones.
        if arguments.write:
            page = fill_sections(PAGE.read_text(encoding="utf-8"), {name: text})
            PAGE.write_text(page, encoding="utf-8")
        else:
            print(f"<!-- begin {name} -->\n{text}\n<!-- end {name} -->\n", flush=True)
    report_progress(f"{len(chosen)} sections in {time.perf_counter() - begin:.0f} s")


def make_section(name: str, arguments: argparse.Namespace) -> str:
    """Return a section's text, with the command and the machine above it."""
    report_progress(f"== {name}")
    begin = time.perf_counter()
    session = Session(report_progress=report_progress)
    if arguments.quick:
        session = Session(rounds=5, seconds=0.3, quick=True, report_progress=report_progress)
    with LoadMonitor() as monitor:
        table = SECTIONS[name](session)
    session.other_load += [] if monitor.other_load is None else [monitor.other_load]
    remarks = session.take_remarks()
    quick = " --quick" if arguments.quick else ""
    head = (
        f"`python tests/performance/tables.py {name}{quick} --threads {arguments.threads}`: "
        f"{describe_machine()}; {time.perf_counter() - begin:.0f} s."
    )
    return "\n\n".join([head, table.text(), *remarks])


def report_progress(line: str) -> None:
    """Print a progress line on standard error."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
