"""Which names of its module a piece of Python reads, and where."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@dataclass
class Reads(ast.NodeVisitor):
    """What some pieces of a module read.

    names: reads of names that no function around them binds: a module's own, imported or built in.
    annotations: the same, inside of annotations, which are never evaluated.
    attributes: the names behind dots.
    imports: relative imports inside of functions.
    """

    names: list[ast.Name] = field(default_factory=list)
    annotations: list[ast.Name] = field(default_factory=list)
    attributes: set[str] = field(default_factory=set)
    imports: list[ast.ImportFrom] = field(default_factory=list)
    _scopes: list[tuple[bool, set[str]]] = field(default_factory=list)

    def visit_Name(self, node: ast.Name) -> None:
        """A name, unless something around it binds it."""
        for depth, (is_class, bound) in enumerate(reversed(self._scopes)):
            # What a class binds its methods do not see.
            if node.id in bound and not (is_class and depth):
                return
        self.names.append(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """What is before the dot, and the name behind it."""
        self.attributes.add(node.attr)
        self.visit(node.value)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """An import where it is needed."""
        if node.level:
            self.imports.append(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Its parts in their scopes."""
        self._function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """Its parts in their scopes."""
        self._function(node)

    def _function(self, node: _Function) -> None:
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [a for a in (arguments.vararg, arguments.kwarg) if a]
        self._each([*arguments.defaults, *(d for d in arguments.kw_defaults if d)])
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        if not isinstance(node, ast.Lambda):
            self._each(node.decorator_list)
            self._annotated([*(a.annotation for a in every), node.returns])
        self._inside(False, {a.arg for a in every} | set(_bound(body)), body)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Its parts in their scopes."""
        self._each([*node.decorator_list, *node.bases, *node.keywords])
        self._inside(True, set(_bound(node.body)), node.body)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Its annotation is never evaluated."""
        self._annotated([node.annotation])
        self._each([part for part in (node.target, node.value) if part])

    def visit_ListComp(self, node: ast.ListComp) -> None:
        """Its parts in their scopes."""
        self._comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        """Its parts in their scopes."""
        self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        """Its parts in their scopes."""
        self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        """Its parts in their scopes."""
        self._comprehension(node)

    def _comprehension(self, node: _Comprehension) -> None:
        first, *others = node.generators
        self.visit(first.iter)
        bound = {name for g in node.generators for name in _bound([g.target])}
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self._inside(False, bound, [*first.ifs, *others, *results])

    def _inside(self, is_class: bool, bound: set[str], nodes: Iterable[ast.AST]) -> None:
        self._scopes.append((is_class, bound))
        self._each(nodes)
        self._scopes.pop()

    def _each(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def _annotated(self, annotations: Iterable[ast.expr | None]) -> None:
        for annotation in annotations:
            for node in ast.walk(annotation) if annotation else ():
                if isinstance(node, ast.Name):
                    self.annotations.append(node)


def reads(nodes: Iterable[ast.AST]) -> Reads:
    """What some nodes at the level of a module, or members of a class, read."""
    found = Reads()
    for node in nodes:
        found.visit(node)
    return found


def _bound(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The names that statements bind in their own scope."""
    for node in nodes:
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Import() | ast.ImportFrom(level=0):
                yield from ((a.asname or a.name).partition(".")[0] for a in node.names)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield name
            case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                yield name
        if not isinstance(node, (*_SCOPES, *_Comprehension.__args__)):
            yield from _bound(ast.iter_child_nodes(node))
