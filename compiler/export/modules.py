"""A module of rnnc as named pieces of source text."""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Key:
    """A name at the top of a module of rnnc."""

    module: str
    name: str


@dataclass(frozen=True, slots=True)
class Outer:
    """A name that a module imports from elsewhere: `from module import name as own`."""

    module: str
    name: str | None
    own: str

    def __str__(self) -> str:
        if self.name is None:
            return f"import {self.module}" + ("" if self._is_plain else f" as {self.own}")
        return f"from {self.module} import {self.name}" + (
            f" as {self.own}" if self.own != self.name else ""
        )

    @property
    def _is_plain(self) -> bool:
        return self.own == self.module.partition(".")[0]


@dataclass(frozen=True, eq=False)
class Piece:
    """One statement: its nodes (a text about it behind it), and its lines, comments before it too.

    first, last: numbers of lines from 1, both included.
    """

    nodes: tuple[ast.stmt, ...]
    first: int
    last: int

    @property
    def node(self) -> ast.stmt:
        """The statement itself."""
        return self.nodes[0]


@dataclass(frozen=True, eq=False)
class Module:
    """The source of one module."""

    name: str
    text: str

    @cached_property
    def lines(self) -> list[str]:
        """The lines, without their ends."""
        return self.text.split("\n")

    @cached_property
    def _tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (ast.get_docstring(self._tree) or "").partition("\n")[0]

    @cached_property
    def pieces(self) -> dict[str, Piece]:
        """What each name stands for."""
        found: dict[str, Piece] = {}
        for piece in self.cut(self._tree.body):
            for name in _names(piece.node):
                found[name] = piece
        return found

    @cached_property
    def imported(self) -> dict[str, Key | Outer]:
        """What each imported name stands for, those that only type checkers need too."""
        found: dict[str, Key | Outer] = {}
        for node in self._tree.body:
            inner = node.body if isinstance(node, ast.If) else [node]
            for statement in inner:
                found.update(self.names_of(statement))
        return found

    def names_of(self, node: ast.stmt) -> dict[str, Key | Outer]:
        """What an import statement makes known."""
        found: dict[str, Key | Outer] = {}
        if isinstance(node, ast.Import):
            for alias in node.names:
                own = alias.asname or alias.name.partition(".")[0]
                found[own] = Outer(alias.name, None, own)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                own = alias.asname or alias.name
                if node.level:
                    parent = ".".join(self.name.split(".")[: -node.level])
                    within = f"{parent}.{node.module}" if node.module else parent
                    found[own] = Key(within, alias.name)
                else:
                    found[own] = Outer(str(node.module), alias.name, own)
        return found

    def cut(self, body: list[ast.stmt]) -> list[Piece]:
        """Statements of one block as pieces."""
        pieces: list[Piece] = []
        for node in body:
            is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if is_text and pieces and isinstance(pieces[-1].node, ast.Assign | ast.AnnAssign):
                before = pieces.pop()
                pieces.append(Piece((*before.nodes, node), before.first, node.end_lineno or 0))
                continue
            decorators = getattr(node, "decorator_list", [])
            first = min([node.lineno, *(d.lineno for d in decorators)])
            while self.lines[first - 2].lstrip().startswith("#"):
                first -= 1
            pieces.append(Piece((node,), first, node.end_lineno or node.lineno))
        return pieces


@cache
def module(name: str) -> Module:
    """The module of a name, from its file."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Module(name, Path(spec.origin).read_text(encoding="utf-8"))


def _names(node: ast.stmt) -> list[str]:
    match node:
        case ast.FunctionDef() | ast.ClassDef():
            return [node.name]
        case ast.Assign():
            return [n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []
