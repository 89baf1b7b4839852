"""Sizes inferred by unification."""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.grammar.source import Span

Dim = int
"""The number of a size in a `SizeSolver` table."""


@dataclass(frozen=True, slots=True)
class SizeOrigin:
    """Where a size became known: a place and its words."""

    span: Span
    text: str


class SizeConflictError(Exception):
    """Two sizes that were to be equal are different numbers."""

    def __init__(
        self, left: int, right: int, origins: tuple[SizeOrigin | None, SizeOrigin | None]
    ) -> None:
        super().__init__(left, right)
        self.left, self.right, self.origins = left, right, origins


@dataclass(frozen=True, slots=True)
class _SumConstraint:
    """`total` = Σ factor · part."""

    total: Dim
    parts: tuple[Dim, ...]
    factor: int


class SizeSolver:
    """All sizes of one model: unknowns, numbers, equalities, sums and multiples of them."""

    def __init__(self) -> None:
        self._parent: list[Dim] = []
        self._value: list[int | None] = []
        self._origin: list[SizeOrigin | None] = []
        self._constraints: list[_SumConstraint] = []
        self._constants: dict[int, Dim] = {}

    def new_size(self) -> Dim:
        """A new size of which nothing is known."""
        return self._add_size(None, None)

    def constant(self, value: int, origin: SizeOrigin | None = None) -> Dim:
        """A size with a value; `origin` says in messages where it came from."""
        if origin is None:
            if value not in self._constants:
                self._constants[value] = self._add_size(value, None)
            return self._constants[value]
        return self._add_size(value, origin)

    def _add_size(self, value: int | None, origin: SizeOrigin | None) -> Dim:
        self._parent.append(len(self._parent))
        self._value.append(value)
        self._origin.append(origin)
        return len(self._parent) - 1

    def find_root(self, dim: Dim) -> Dim:
        """The representative of all sizes equal to this one."""
        while self._parent[dim] != dim:
            self._parent[dim] = self._parent[self._parent[dim]]
            dim = self._parent[dim]
        return dim

    def value(self, dim: Dim) -> int | None:
        """The number, if it is known."""
        return self._value[self.find_root(dim)]

    def origin(self, dim: Dim) -> SizeOrigin | None:
        """Where the number came from, if that is known."""
        return self._origin[self.find_root(dim)]

    def unify(self, left: Dim, right: Dim) -> None:
        """Make two sizes equal.

        Raises:
            Conflict: when both are numbers, and different ones.
        """
        a, b = self.find_root(left), self.find_root(right)
        if a == b:
            return
        x, y = self._value[a], self._value[b]
        if x is not None and y is not None:
            if x != y:
                raise SizeConflictError(x, y, (self._origin[a], self._origin[b]))
            return  # kept apart, so that each keeps the origin of its own number
        if x is None:
            a, b = b, a
        self._parent[b] = a

    def sum_sizes(self, parts: tuple[Dim, ...], factor: int = 1) -> Dim:
        """The size that is `factor` times the sum of `parts`."""
        values = [self.value(part) for part in parts]
        if None not in values:
            return self.constant(factor * sum(v for v in values if v is not None))
        result = self.new_size()
        self.require_sum(result, parts, factor)
        return result

    def require_sum(self, total: Dim, parts: tuple[Dim, ...], factor: int = 1) -> None:
        """Demand that `total` is `factor` times the sum of `parts`, now or when more is known.

        Raises:
            Conflict: when it cannot be.
        """
        if not self._try_solve(_SumConstraint(total, parts, factor)):
            self._constraints.append(_SumConstraint(total, parts, factor))

    def solve(self) -> None:
        """Settle every sum that has become known since it was demanded.

        Raises:
            Conflict: when one cannot be.
        """
        progress = True
        while progress:
            pending = self._constraints
            self._constraints = [item for item in pending if not self._try_solve(item)]
            progress = len(self._constraints) < len(pending)

    def _try_solve(self, item: _SumConstraint) -> bool:
        values = [self.value(part) for part in item.parts]
        missing = [part for part, value in zip(item.parts, values, strict=True) if value is None]
        known = sum(value for value in values if value is not None)
        if not missing:
            self.unify(item.total, self.constant(item.factor * known))
            return True
        total = self.value(item.total)
        if total is None or len({self.find_root(part) for part in missing}) > 1:
            return False
        rest, remainder = divmod(total - item.factor * known, item.factor * len(missing))
        if remainder or rest < 1:
            raise SizeConflictError(total, item.factor * known, (self.origin(item.total), None))
        self.unify(missing[0], self.constant(rest))
        return True
