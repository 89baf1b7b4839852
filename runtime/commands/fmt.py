"""Put specs into canonical layout and symbols."""

from __future__ import annotations

import sys
from difflib import unified_diff
from pathlib import Path

import click

from rnnc.grammar.diagnostics.diagnostic import Diagnostic
from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.grammar.source import Source
from rnnc.operators.sources.spec_file import read_spec
from rnnc.runtime.atomic_write import write_atomically
from rnnc.runtime.print_diagnostics import format_count, print_diagnostics


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--ascii", "ascii_only", is_flag=True, help="Write (+) for ⊕, |> for ▷ and so on.")
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if anything would.")
@click.option("--diff", is_flag=True, help="Change nothing; print what would change.")
def command(files: tuple[str, ...], ascii_only: bool, check: bool, diff: bool) -> None:
    """Put specs into canonical layout and symbols; `-` reads and prints standard streams.

    Comments stay, and so does what a spec means. A file that cannot be parsed is left as it is.
    """
    from rnnc.grammar.formatter import format_source

    failed = False
    changed: list[str] = []
    for file in files:
        try:
            source, before = _read(file)
            after = format_source(source, ascii_only=ascii_only)
            if file == "-" and not (check or diff):
                _print(after)
            elif before != after.encode():
                changed.append(source.name)
                _apply_format(source.name, before, after, check=check, diff=diff)
        except RnnError as error:
            print_diagnostics(error.diagnostics)
            failed = True
    if not check and not diff and changed:
        click.echo(f"{format_count(len(changed), 'file')} formatted", err=True)
    if failed or (changed and (check or diff)):
        raise click.exceptions.Exit(1)


def _read(file: str) -> tuple[Source, bytes]:
    if file.startswith("zoo:"):
        raise click.BadParameter("a model of the zoo cannot be formatted", param_hint="FILE")
    source = read_spec(file)
    return source, source.path.read_bytes() if source.path else source.text.encode()


def _apply_format(name: str, before: bytes, after: str, *, check: bool, diff: bool) -> None:
    if diff:
        old = before.decode("utf-8").splitlines(keepends=True)
        new = after.splitlines(keepends=True)
        lines = list(unified_diff(old, new, name, name))
        _print("".join(line if line.endswith("\n") else line + "\n" for line in lines))
    if check:
        click.echo(f"{name}: would be formatted", err=True)
    if not check and not diff:
        _write(Path(name), after)


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path.resolve(), text.encode())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        message = f"`{path}` cannot be written: {reason}"
        raise RnnError((Diagnostic("RNN605", message, hint="the file is as it was"),)) from None


def _print(text: str) -> None:
    # Write bytes: text mode could change a spec's encoding and line ends.
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()
