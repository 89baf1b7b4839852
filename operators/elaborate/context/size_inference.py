"""Sizes inferred by unification."""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.grammar.source import Span

Dim = int
"""The number of a size in a `Sizes` table."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a size became known: a place and its words."""

    span: Span
    text: str


class Conflict(Exception):
    """Two sizes that were to be equal are different numbers."""

    def __init__(self, left: int, right: int, origins: tuple[Origin | None, Origin | None]) -> None:
        super().__init__(left, right)
        self.left, self.right, self.origins = left, right, origins


@dataclass(frozen=True, slots=True)
class _Sum:
    """`total` = Σ factor · part."""

    total: Dim
    parts: tuple[Dim, ...]
    factor: int


class Sizes:
    """All sizes of one model: unknowns, numbers, equalities, sums and multiples of them."""

    def __init__(self) -> None:
        self._parent: list[Dim] = []
        self._value: list[int | None] = []
        self._origin: list[Origin | None] = []
        self._sums: list[_Sum] = []
        self._known: dict[int, Dim] = {}

    def unknown(self) -> Dim:
        """A new size of which nothing is known."""
        return self._new(None, None)

    def known(self, value: int, origin: Origin | None = None) -> Dim:
        """A size with a value; `origin` says in messages where it came from."""
        if origin is None:
            if value not in self._known:
                self._known[value] = self._new(value, None)
            return self._known[value]
        return self._new(value, origin)

    def _new(self, value: int | None, origin: Origin | None) -> Dim:
        self._parent.append(len(self._parent))
        self._value.append(value)
        self._origin.append(origin)
        return len(self._parent) - 1

    def root(self, dim: Dim) -> Dim:
        """The representative of all sizes equal to this one."""
        while self._parent[dim] != dim:
            self._parent[dim] = self._parent[self._parent[dim]]
            dim = self._parent[dim]
        return dim

    def value(self, dim: Dim) -> int | None:
        """The number, if it is known."""
        return self._value[self.root(dim)]

    def origin(self, dim: Dim) -> Origin | None:
        """Where the number came from, if that is known."""
        return self._origin[self.root(dim)]

    def unify(self, left: Dim, right: Dim) -> None:
        """Make two sizes equal.

        Raises:
            Conflict: when both are numbers, and different ones.
        """
        a, b = self.root(left), self.root(right)
        if a == b:
            return
        x, y = self._value[a], self._value[b]
        if x is not None and y is not None:
            if x != y:
                raise Conflict(x, y, (self._origin[a], self._origin[b]))
            return  # kept apart, so that each keeps the origin of its own number
        if x is None:
            a, b = b, a
        self._parent[b] = a

    def total(self, parts: tuple[Dim, ...], factor: int = 1) -> Dim:
        """The size that is `factor` times the sum of `parts`."""
        values = [self.value(part) for part in parts]
        if None not in values:
            return self.known(factor * sum(v for v in values if v is not None))
        result = self.unknown()
        self.require_total(result, parts, factor)
        return result

    def require_total(self, total: Dim, parts: tuple[Dim, ...], factor: int = 1) -> None:
        """Demand that `total` is `factor` times the sum of `parts`, now or when more is known.

        Raises:
            Conflict: when it cannot be.
        """
        if not self._settle(_Sum(total, parts, factor)):
            self._sums.append(_Sum(total, parts, factor))

    def solve(self) -> None:
        """Settle every sum that has become known since it was demanded.

        Raises:
            Conflict: when one cannot be.
        """
        progress = True
        while progress:
            pending = self._sums
            self._sums = [item for item in pending if not self._settle(item)]
            progress = len(self._sums) < len(pending)

    def _settle(self, item: _Sum) -> bool:
        values = [self.value(part) for part in item.parts]
        missing = [part for part, value in zip(item.parts, values, strict=True) if value is None]
        known = sum(value for value in values if value is not None)
        if not missing:
            self.unify(item.total, self.known(item.factor * known))
            return True
        total = self.value(item.total)
        if total is None or len({self.root(part) for part in missing}) > 1:
            return False
        rest, remainder = divmod(total - item.factor * known, item.factor * len(missing))
        if remainder or rest < 1:
            raise Conflict(total, item.factor * known, (self.origin(item.total), None))
        self.unify(missing[0], self.known(rest))
        return True
