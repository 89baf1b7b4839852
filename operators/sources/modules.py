"""Load the modules of `use`: files beside the spec, then the library that ships with rnnc."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rnnc.grammar import syntax
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.parser import parse
from rnnc.grammar.source import Source, Span
from rnnc.operators.graph.user_spans import LIBRARY

from .regular_files import open_regular

MAX_MODULE_BYTES: Final = 4 * 2**20
"""Largest module in bytes, four times the largest spec."""


class ModuleLoader:
    """Loader that reads and parses each module once.

    `texts` holds the modules from outside the library.
    """

    def __init__(self, report: Report, overrides: Mapping[str, str] | None = None) -> None:
        self._report = report
        self._overrides = dict(overrides or {})
        self._parsed: dict[object, syntax.File] = {}
        self.texts: dict[str, str] = {}

    def load(self, use: syntax.Use) -> syntax.File | None:
        """Load the module of a `use`; None, with a diagnostic (RNN210), if there is none."""
        name = use.module.name
        source = self._find_source(name, use.span.source, use.module.span)
        if source is None:
            return None
        key: object = source.path or name
        if key not in self._parsed:
            self._parsed[key] = parse(source, self._report)
        return self._parsed[key]

    def _find_source(self, name: str, user: Source, span: Span) -> Source | None:
        library_path = LIBRARY / f"{name}.rnn"
        in_library = user.path is not None and user.path.parent == LIBRARY
        if name in self._overrides and not in_library:
            text = self._overrides[name]
            self.texts[name] = text
            return Source(text, f"{name}.rnn")
        if user.path is not None and not in_library:
            sibling_path = user.path.parent / f"{name}.rnn"
            if _is_file(sibling_path):
                text_beside = self._read_text(sibling_path, span)
                if text_beside is None:
                    return None
                self.texts[name] = text_beside
                return Source(text_beside, sibling_path.name, sibling_path)
        if _is_file(library_path):
            return Source(library_path.read_text(encoding="utf-8"), f"library:{name}", library_path)
        names = sorted({path.stem for path in self._candidate_paths(user)} | set(self._overrides))
        matches = difflib.get_close_matches(name, names, 1)
        self._report.error(
            "RNN210",
            f"there is no `{name}.rnn` to use",
            span,
            "neither beside the spec nor in the library",
            hint=f"did you mean `{matches[0]}`?" if matches else f"there are: {', '.join(names)}",
        )
        return None

    def _candidate_paths(self, user: Source) -> list[Path]:
        paths = list(LIBRARY.glob("*.rnn"))
        if user.path is not None:
            paths += [path for path in user.path.parent.glob("*.rnn") if path != user.path]
        return paths

    def _read_text(self, path: Path, span: Span) -> str | None:
        try:
            with open_regular(path) as file:
                data = file.read(MAX_MODULE_BYTES + 1)
            if len(data) > MAX_MODULE_BYTES:
                raise ValueError(f"it is larger than {MAX_MODULE_BYTES} bytes")
            text = data.decode("utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self._report.error("RNN210", f"`{path.name}` cannot be used: {reason}", span)
            return None
        return text


def _is_file(path: Path) -> bool:
    """Return true if a path is a file; false if its name is too long for the system."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
