"""Pieces of rnnc's own source, and all that they need of it, as one text that needs no rnnc.

What is not reached from the roots is left out: functions and constants, methods that nothing calls,
and, of classes whose instances are written down as data, fields that nothing reads. A cached
property of such a class becomes a field: its value is known. Names are what decides: a method stays
as soon as any method of its name is called.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from .modules import Key, Module, Outer, Piece, module
from .scopes import Reads, reads

_ANY: Final = Outer("typing", "Any", "Any")


@dataclass(eq=False)
class Part:
    """Lines that stay or go as a whole: a statement, or a member or the head of a class."""

    module: Module
    piece: Piece
    found: Reads
    own: dict[str, Key | Outer] = field(default_factory=dict)
    frozen: bool = False


@dataclass(eq=False)
class Entry:
    """A name's statement; for a class, its members by turns."""

    key: Key
    home: Module
    piece: Piece
    head: Part
    parts: list[Part] = field(default_factory=list)
    optional: dict[str, list[Part]] = field(default_factory=dict)
    """Members that stay only if something calls them, by name."""


@dataclass
class Linker:
    """Collects what some roots need.

    replaced: what stands for what, at each place where it is named.
    given: classes whose instances are data.
    left_out: members of classes that are not needed though something of their name is.
    """

    replaced: Mapping[Key, Key]
    given: frozenset[Key]
    left_out: frozenset[tuple[Key, str]] = frozenset()
    attributes: set[str] = field(default_factory=set)
    entries: dict[Key, Entry] = field(default_factory=dict)

    def add(self, key: Key) -> None:
        """Collect a name and all that it needs."""
        self._need(self.resolve(key))
        more = True
        while more:
            more = False
            for entry in list(self.entries.values()):
                for name in [n for n in entry.optional if n in self.attributes]:
                    for part in entry.optional.pop(name):
                        self._take(entry, part)
                        more = True

    def kept_fields(self, key: Key, names: Iterable[str]) -> list[str]:
        """Those fields of a class of data that something reads."""
        if key not in self.given:
            return list(names)
        return [n for n in names if n in self.attributes and (key, n) not in self.left_out]

    def worked_out(self, kind: type) -> Iterator[str]:
        """The cached properties of a class of data that have become fields."""
        for base in kind.__mro__:
            entry = self.entries.get(Key(base.__module__, base.__qualname__))
            for part in entry.parts if entry else ():
                if part.frozen:
                    yield _member_name(part.piece.node)[0]

    def resolve(self, key: Key, where: str = "") -> Key | Outer:
        """Where a name is defined, through imports.

        where: the module that names it; what stands for something may itself be made of it.
        """
        other = self.replaced.get(key, key)
        key = key if other.module == where else other
        home = module(key.module)
        if key.name in home.pieces:
            return key
        found = home.imported[key.name]
        return self.resolve(found, where) if isinstance(found, Key) else found

    def lookup(self, part: Part, name: str) -> Key | Outer | None:
        """What a name means in a part; None for what is built in."""
        home = part.module
        if name in part.own:
            found: Key | Outer = part.own[name]
        elif name in home.pieces:
            found = Key(home.name, name)
        elif name in home.imported:
            found = home.imported[name]
        else:
            return None
        return self.resolve(found, home.name) if isinstance(found, Key) else found

    def _need(self, found: Key | Outer) -> None:
        if isinstance(found, Outer) or found in self.entries:
            return
        home = module(found.module)
        piece = home.pieces[found.name]
        node = piece.node
        if not isinstance(node, ast.ClassDef):
            head = Part(home, piece, reads(piece.nodes))
            entry = self.entries[found] = Entry(found, home, piece, head)
            self._follow(entry.head)
            return
        outside = [*node.decorator_list, *node.bases, *node.keywords]
        members = home.cut(node.body)
        first = Piece((node,), piece.first, members[0].first - 1)
        entry = self.entries[found] = Entry(found, home, piece, Part(home, first, reads(outside)))
        self._follow(entry.head)
        for member in members:
            self._member(entry, member)

    def _member(self, entry: Entry, member: Piece) -> None:
        part = Part(entry.home, member, reads(member.nodes))
        name, is_field = _member_name(member.node)
        if (entry.key, name) in self.left_out:
            return
        if entry.key in self.given and _is_cached(member.node):
            part = Part(entry.home, member, Reads(), frozen=True)
        elif not name or (is_field and entry.key not in self.given) or name.startswith("__"):
            self._take(entry, part)
            return
        if name in self.attributes:
            self._take(entry, part)
        else:
            entry.optional.setdefault(name, []).append(part)

    def _take(self, entry: Entry, part: Part) -> None:
        entry.parts.append(part)
        entry.parts.sort(key=lambda p: p.piece.first)
        self._follow(part)

    def _follow(self, part: Part) -> None:
        for statement in part.found.imports:
            part.own.update(part.module.names_of(statement))
        self.attributes |= part.found.attributes
        for name in part.found.names:
            target = self.lookup(part, name.id)
            if isinstance(target, Key):
                self._need(target)

    def ordered(self) -> Iterator[tuple[Module, list[Entry]]]:
        """The modules, each after those that it needs, with what is left of them."""
        homes: dict[str, list[Entry]] = {}
        for entry in self.entries.values():
            homes.setdefault(entry.key.module, []).append(entry)
        done: set[str] = set()

        def visit(name: str) -> Iterator[str]:
            if name in done:
                return
            done.add(name)
            for entry in homes[name]:
                for part in (entry.head, *entry.parts):
                    for read in part.found.names:
                        target = self.lookup(part, read.id)
                        if isinstance(target, Key):
                            yield from visit(target.module)
            yield name

        for root in homes:
            for name in visit(root):
                yield module(name), sorted(homes[name], key=lambda e: e.piece.first)


def _member_name(node: ast.stmt) -> tuple[str, bool]:
    """The name of a member, and whether it is a field."""
    match node:
        case ast.FunctionDef():
            return node.name, False
        case ast.AnnAssign(target=ast.Name(id=name)):
            return name, True
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name, True
    return "", False


def _is_cached(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and any(
        isinstance(d, ast.Name) and d.id == "cached_property" for d in node.decorator_list
    )
