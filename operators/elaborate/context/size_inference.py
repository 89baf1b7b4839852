"""Infer sizes by unification: union-find over unknown sizes, with deferred sum constraints.

Input: equalities and sums as the model is elaborated; output: a number for each size, or a
conflict with the spans that its numbers come from (docs/decisions/0003).
"""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.grammar.source import Span

Dim = int
"""Index of a size in a `SizeSolver`."""


@dataclass(frozen=True, slots=True)
class SizeOrigin:
    """Span that determines a size, with an explanation for messages."""

    span: Span
    text: str


class SizeConflictError(Exception):
    """Two sizes that must be equal are different numbers."""

    def __init__(
        self, left: int, right: int, origins: tuple[SizeOrigin | None, SizeOrigin | None]
    ) -> None:
        super().__init__(left, right)
        self.left, self.right, self.origins = left, right, origins


@dataclass(frozen=True, slots=True)
class _SumConstraint:
    """`total` = factor · Σ parts."""

    total: Dim
    parts: tuple[Dim, ...]
    factor: int


class SizeSolver:
    """All sizes of one model: unknowns, numbers, equalities and sums."""

    def __init__(self) -> None:
        self._parent: list[Dim] = []
        self._value: list[int | None] = []
        self._origin: list[SizeOrigin | None] = []
        self._constraints: list[_SumConstraint] = []
        self._constants: dict[int, Dim] = {}

    def new_size(self) -> Dim:
        """Add an unknown size."""
        return self._add_size(None, None)

    def constant(self, value: int, origin: SizeOrigin | None = None) -> Dim:
        """Return a size with a value; `origin` explains it in messages."""
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
        """Return the representative of all sizes equal to this one."""
        while self._parent[dim] != dim:
            self._parent[dim] = self._parent[self._parent[dim]]
            dim = self._parent[dim]
        return dim

    def value(self, dim: Dim) -> int | None:
        """Return the number of a size, or None if it is unknown."""
        return self._value[self.find_root(dim)]

    def origin(self, dim: Dim) -> SizeOrigin | None:
        """Return the origin of a size's number, or None."""
        return self._origin[self.find_root(dim)]

    def unify(self, left: Dim, right: Dim) -> None:
        """Make two sizes equal.

        Raises:
            SizeConflictError: if both are numbers, and different ones.
        """
        a, b = self.find_root(left), self.find_root(right)
        if a == b:
            return
        x, y = self._value[a], self._value[b]
        if x is not None and y is not None:
            if x != y:
                raise SizeConflictError(x, y, (self._origin[a], self._origin[b]))
            return  # two classes of one number: each has an origin of its own
        if x is None:
            a, b = b, a
        self._parent[b] = a

    def sum_sizes(self, parts: tuple[Dim, ...], factor: int = 1) -> Dim:
        """Return the size that is `factor` times the sum of `parts`."""
        values = [self.value(part) for part in parts]
        if None not in values:
            return self.constant(factor * sum(v for v in values if v is not None))
        total = self.new_size()
        self.require_sum(total, parts, factor)
        return total

    def require_sum(self, total: Dim, parts: tuple[Dim, ...], factor: int = 1) -> None:
        """Constrain `total` to `factor` times the sum of `parts`, now or once more is known.

        Raises:
            SizeConflictError: if the sizes are known and differ.
        """
        if not self._try_solve(_SumConstraint(total, parts, factor)):
            self._constraints.append(_SumConstraint(total, parts, factor))

    def solve(self) -> None:
        """Solve every constraint whose sizes have become known since it was added.

        Raises:
            SizeConflictError: if one cannot hold.
        """
        progress = True
        while progress:
            pending = self._constraints
            self._constraints = [
                constraint for constraint in pending if not self._try_solve(constraint)
            ]
            progress = len(self._constraints) < len(pending)

    def _try_solve(self, constraint: _SumConstraint) -> bool:
        values = [self.value(part) for part in constraint.parts]
        unknown = [
            part for part, value in zip(constraint.parts, values, strict=True) if value is None
        ]
        known_sum = sum(value for value in values if value is not None)
        if not unknown:
            self.unify(constraint.total, self.constant(constraint.factor * known_sum))
            return True
        total = self.value(constraint.total)
        if total is None or len({self.find_root(part) for part in unknown}) > 1:
            return False
        size, remainder = divmod(
            total - constraint.factor * known_sum, constraint.factor * len(unknown)
        )
        if remainder or size < 1:
            raise SizeConflictError(
                total, constraint.factor * known_sum, (self.origin(constraint.total), None)
            )
        self.unify(unknown[0], self.constant(size))
        return True
