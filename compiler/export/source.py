"""Linked pieces as text: names that meet are told apart, annotations name only what is there."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .link import Entry, Linker, Part
from .modules import Key, Module, Outer

_WIDTH = 100


@dataclass
class Writer:
    """Writes what a linker has collected."""

    linker: Linker
    taken: frozenset[str] = frozenset()
    names: dict[Key, str] = field(default_factory=dict)
    imports: dict[str, Outer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        used = set(self.taken)
        for entry in self.linker.entries.values():
            for part in (entry.head, *entry.parts):
                for node in part.found.names + part.found.annotations:
                    target = self.linker.lookup(part, node.id)
                    if isinstance(target, Outer):
                        self.use(target)
        used |= set(self.imports)
        for key in self.linker.entries:
            name, folders = key.name, key.module.split(".")
            while name in used:
                name = f"{name}_of_{folders.pop()}"
            used.add(name)
            self.names[key] = name

    def use(self, outer: Outer) -> str:
        """The name by which something is imported."""
        assert self.imports.setdefault(outer.own, outer) == outer, outer
        return outer.own

    def name(self, key: Key) -> str:
        """What a name of rnnc is called in the text."""
        found = self.linker.resolve(key)
        return self.use(found) if isinstance(found, Outer) else self.names[found]

    def sections(self) -> Iterator[str]:
        """The text of each module, under a line that says where it is from."""
        for home, entries in self.linker.ordered():
            where = home.name.replace(".", "/")
            lines = textwrap.wrap(f"From {where}.py: {home.summary}", _WIDTH - 2)
            text = "\n".join(f"# {line}" for line in lines) + "\n"
            last: ast.stmt | None = None
            for entry in entries:
                is_plain = isinstance(entry.piece.node, ast.Assign | ast.AnnAssign)
                near = is_plain and isinstance(last, ast.Assign | ast.AnnAssign)
                gap = 1 if last is None or near else 2
                text += "\n" * gap + "\n".join(self._entry(entry)) + "\n"
                last = entry.piece.node
            yield text

    def imported(self) -> str:
        """The import statements."""
        plain = sorted({str(o) for o in self.imports.values() if o.name is None})
        self.imports.pop("annotations", None)
        froms: dict[str, list[str]] = {}
        for outer in sorted(self.imports.values(), key=lambda o: o.own):
            if outer.name is not None:
                own = outer.name if outer.own == outer.name else f"{outer.name} as {outer.own}"
                froms.setdefault(outer.module, []).append(own)
        lines = [f"from {home} import {', '.join(names)}" for home, names in sorted(froms.items())]
        return "\n".join(plain + [line for long in lines for line in _folded(long)]) + "\n"

    def _entry(self, entry: Entry) -> Iterator[str]:
        yield from self._lines(entry.head, rename=entry)
        if not isinstance(entry.piece.node, ast.ClassDef):
            return
        for part in entry.parts:
            if not entry.home.lines[part.piece.first - 2]:
                yield ""
            if part.frozen:
                yield from self._frozen(part)
            else:
                yield from self._lines(part)
        if not entry.parts:
            yield "    pass"

    def _frozen(self, part: Part) -> Iterator[str]:
        node = part.piece.node
        assert isinstance(node, ast.FunctionDef)
        yield f"    {node.name}: {self.use(Outer('typing', 'Any', 'Any'))} = None"
        if ast.get_docstring(node) is not None:
            about = node.body[0]
            for line in part.module.lines[about.lineno - 1 : about.end_lineno]:
                yield line.removeprefix("    ")

    def _lines(self, part: Part, rename: Entry | None = None) -> list[str]:
        """The lines of a part as they are to stand."""
        edits: dict[int, list[tuple[int, int, str]]] = {}
        if rename is not None and self.names[rename.key] != rename.key.name:
            _rename(rename.home, rename.piece.node, self.names[rename.key], edits)
        for node in part.found.names:
            self._edit(part, node, edits, annotation=False)
        for node in part.found.annotations:
            self._edit(part, node, edits, annotation=True)
        gone: set[int] = set()
        for statement in part.found.imports:
            gone |= set(range(statement.lineno, (statement.end_lineno or 0) + 1))
        lines: list[str] = []
        for number in range(part.piece.first, part.piece.last + 1):
            line = part.module.lines[number - 1].encode()
            for start, end, text in sorted(edits.get(number, ()), reverse=True):
                line = line[:start] + text.encode() + line[end:]
            if number not in gone:
                lines.append(line.decode())
        return lines

    def _edit(
        self,
        part: Part,
        node: ast.Name,
        edits: dict[int, list[tuple[int, int, str]]],
        *,
        annotation: bool,
    ) -> None:
        target = self.linker.lookup(part, node.id)
        if target is None:
            return
        if isinstance(target, Outer):
            text = self.use(target)
        elif target in self.names:
            text = self.names[target]
        else:
            assert annotation, target
            text = self.use(Outer("typing", "Any", "Any"))
        if text != node.id:
            edits.setdefault(node.lineno, []).append(
                (node.col_offset, node.end_col_offset or 0, text)
            )


def _rename(
    home: Module, node: ast.stmt, name: str, edits: dict[int, list[tuple[int, int, str]]]
) -> None:
    """Rename what a function or class is defined as; a variable's name is edited as it is read."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        line = home.lines[node.lineno - 1]
        start = line.index(node.name, line.index(" "))
        edits.setdefault(node.lineno, []).append((start, start + len(node.name), name))


def _folded(line: str) -> Iterable[str]:
    if len(line) <= _WIDTH:
        return [line]
    head, _, names = line.partition(" import ")
    inner = [f"    {name}," for name in names.split(", ")]
    return [f"{head} import (", *inner, ")"]
