"""Read the argument FILE: a path, `-` for standard input, or `zoo:NAME`."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from pathlib import Path

from rnnc.grammar.diagnostics.diagnostic import Diagnostic, Label
from rnnc.grammar.diagnostics.errors import RnnError, fail
from rnnc.grammar.source import Source, Span

from .regular_files import open_regular

MAX_SPEC_BYTES = 2**20
"""Largest spec in bytes: some hundred pages of equations."""


def read_spec(argument: str) -> Source:
    """Read the spec of a FILE argument.

    Raises:
        RnnError: RNN601 (no such file), RNN602 (unreadable), RNN603 (not UTF-8 text), RNN604 (too
            large), or RNN606 (no such model in the zoo).
    """
    if argument.startswith("zoo:"):
        from .zoo import zoo_source

        return zoo_source(argument.removeprefix("zoo:"))
    if argument == "-":
        return decode_spec(_read_standard_input(), "<stdin>", None)
    path = Path(argument)
    try:
        with open_regular(path) as file:
            data = file.read(MAX_SPEC_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        fail("RNN601", f"there is no file `{argument}`", hint=_suggest_path(path))
    except IsADirectoryError:
        fail("RNN602", f"`{argument}` is a directory", hint=_suggest_spec_in(path))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        fail("RNN602", f"`{argument}` cannot be read: {reason.lower()}", hint=_stream_hint(path))
    return decode_spec(data, argument, path)


def _read_standard_input() -> bytes:
    if sys.stdin is None:
        fail("RNN602", "standard input is closed")
    try:
        return sys.stdin.buffer.read(MAX_SPEC_BYTES + 1)
    except OSError as error:
        fail("RNN602", f"standard input cannot be read: {(error.strerror or str(error)).lower()}")


def decode_spec(data: bytes, name: str, path: Path | None) -> Source:
    """Decode a file's bytes to a source; raise RnnError if they are no text or too long."""
    if len(data) > MAX_SPEC_BYTES:
        limit = f"{MAX_SPEC_BYTES:,} bytes"
        fail("RNN604", f"`{name}` is larger than {limit}, the largest spec that rnnc reads")
    try:
        source = Source(data.decode("utf-8"), name, path)
    except UnicodeDecodeError as error:
        _fail_at(
            Source(data.decode("utf-8", errors="replace"), name, path),
            len(Source(data[: error.start].decode("utf-8")).text),
            f"`{name}` is not UTF-8 text: byte 0x{data[error.start]:02x} at offset {error.start}",
            "save the file as UTF-8"
            + (" (it looks like UTF-16)" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else ""),
        )
    nul = source.text.find("\0")
    if nul >= 0:
        message = f"`{name}` holds a NUL character, so it is not a text file"
        _fail_at(source, nul, message, "is this the file you meant?")
    return source


def _fail_at(source: Source, offset: int, message: str, hint: str) -> None:
    label = Label(Span(source, offset, offset + 1), "here")
    raise RnnError((Diagnostic("RNN603", message, label=label, hint=hint),))


def _stream_hint(path: Path) -> str:
    try:
        is_stream = path.exists() and not path.is_file()
    except (OSError, ValueError):
        return ""
    return "`-` reads standard input" if is_stream else ""


def _suggest_path(path: Path) -> str:
    """Return a hint for a path without a file."""
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder `{folder}` either"
    matches = get_close_matches(path.name, _spec_names(folder), n=1)
    return f"did you mean `{folder / matches[0]}`?" if matches else ""


def _suggest_spec_in(folder: Path) -> str:
    specs = _spec_names(folder)
    return f"name a file in it, such as `{folder / specs[0]}`" if specs else ""


def _spec_names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.suffix == ".rnn")
    except OSError:
        return []
