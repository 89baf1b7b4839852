"""Register blocking: a kernel's matmuls cut into calls of the micro-kernel, matrices into panels.

The micro-kernel is that of BLIS (Van Zee & van de Geijn 2015): rows of a tile times a packed panel,
accumulators in registers. Sums that read the same vector share a panel, so that it is loaded once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from rnnc.compiler.backends.cpu.schedule.frame_layout import FrameLayout
from rnnc.compiler.backends.cpu.schedule.kernel_partition import CpuKernel, MatmulTerm
from rnnc.compiler.ir.dataflow import Operand


@dataclass(frozen=True, slots=True)
class MicrokernelCall:
    """A call of the micro-kernel: rows of a vector times a panel, to neighboring accumulators.

    depth: entries of the vector.
    columns: for each vector of the panel its term, and its index among the term's columns.
    accumulate: true if an earlier call has begun these sums.
    """

    vector: Operand
    depth: int
    first_accumulator: int
    columns: tuple[tuple[MatmulTerm, int], ...]
    accumulate: bool

    def weight_spans(self) -> Iterator[tuple[int, int, MatmulTerm, int]]:
        """Yield runs of columns of one matrix: position, count, term, index of the first one."""
        columns = [(position, term, v) for position, (term, v) in enumerate(self.columns)]
        for _, run in groupby(columns, key=lambda column: (column[1], column[2] - column[0])):
            (position, term, v), *others = run
            yield position, 1 + len(others), term, v


@dataclass(frozen=True)
class RegisterBlocking:
    """Blocks of a kernel's columns.

    A block is `vectors_per_block` neighboring vectors of columns of every sum; vector v of sum s
    has accumulator s · vectors_per_block + v.

    tile_vectors: vectors of columns of one micro-kernel tile.
    """

    layout: FrameLayout
    kernel: CpuKernel
    tile_vectors: int

    @cached_property
    def vectors_per_block(self) -> int:
        """Vectors of columns of one sum in a block."""
        width_in_vectors = -(-self.kernel.width // self.layout.lanes)
        per_sum = self.tile_vectors // max(1, len(self.kernel.matmul_sums))
        return min(width_in_vectors, max(1, per_sum))

    @cached_property
    def block_count(self) -> int:
        """Number of blocks of the kernel's columns."""
        return -(-self.kernel.width // (self.vectors_per_block * self.layout.lanes))

    @cached_property
    def microkernel_calls(self) -> tuple[MicrokernelCall, ...]:
        """The micro-kernel calls of one block, in order."""
        values = self.layout.flow.values
        begun: set[int] = set()
        calls: list[MicrokernelCall] = []
        for vector, terms in self._terms_by_vector():
            columns = [
                (index * self.vectors_per_block + v, terms[index], v)
                for index in sorted(terms)
                for v in range(self.vectors_per_block)
            ]
            while columns:
                first = columns[0][0]
                count = 1
                # A call takes neighboring accumulators that are all new, or all begun.
                while (
                    count < min(self.tile_vectors, len(columns))
                    and columns[count][0] == first + count
                    and (columns[count][0] in begun) == (first in begun)
                ):
                    count += 1
                depth = values[vector.value].shape[0]
                panel = tuple((term, v) for _, term, v in columns[:count])
                calls.append(MicrokernelCall(vector, depth, first, panel, first in begun))
                begun.update(accumulator for accumulator, _, _ in columns[:count])
                columns = columns[count:]
        return tuple(calls)

    def _terms_by_vector(self) -> list[tuple[Operand, dict[int, MatmulTerm]]]:
        """Collect terms by their vector and sum; a sum's second term of a vector comes apart."""
        layers: dict[tuple[Operand, int], dict[int, MatmulTerm]] = {}
        for index, sum_ in enumerate(self.kernel.matmul_sums):
            for term in sum_.terms:
                layer = 0
                while index in layers.setdefault((term.vector, layer), {}):
                    layer += 1
                layers[term.vector, layer][index] = term
        return [(vector, terms) for (vector, _), terms in layers.items()]

    @cached_property
    def packed_block_size(self) -> int:
        """Numbers of the panels of one block."""
        vectors = sum(call.depth * len(call.columns) for call in self.microkernel_calls)
        return vectors * self.layout.lanes

    @property
    def accumulator_size(self) -> int:
        """Numbers of the accumulators of one row of a block."""
        return len(self.kernel.matmul_sums) * self.vectors_per_block * self.layout.lanes
