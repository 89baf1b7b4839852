"""How the products of a stage are cut into blocks, and their matrices into panels."""

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
    """Neighbouring sums that one call of `product` adds to: a vector of rows, a panel."""

    vector: Operand
    depth: int
    first_accumulator: int
    columns: tuple[tuple[MatmulTerm, int], ...]
    accumulate: bool

    def weight_spans(self) -> Iterator[tuple[int, int, MatmulTerm, int]]:
        """Columns of one matrix each: their place, how many, the term, and its first vector."""
        columns = [(place, term, v) for place, (term, v) in enumerate(self.columns)]
        for _, found in groupby(columns, key=lambda column: (column[1], column[2] - column[0])):
            (place, term, v), *others = found
            yield place, 1 + len(others), term, v


@dataclass(frozen=True)
class RegisterBlocking:
    """How a stage's products are blocked.

    A block is `vectors_per_block` vectors of neighbouring columns of every sum; vector v of sum s has place
    s · across + v among the block's registers.
    """

    layout: FrameLayout
    kernel: CpuKernel
    tile_vectors: int

    @cached_property
    def vectors_per_block(self) -> int:
        """Vectors of columns of one sum in a block."""
        lanes = -(-self.kernel.width // self.layout.lanes)
        return min(lanes, max(1, self.tile_vectors // max(1, len(self.kernel.matmul_sums))))

    @cached_property
    def block_count(self) -> int:
        """How many blocks the stage's columns make."""
        return -(-self.kernel.width // (self.vectors_per_block * self.layout.lanes))

    @cached_property
    def microkernel_calls(self) -> tuple[MicrokernelCall, ...]:
        """The calls of `product` for one block, in order."""
        values = self.layout.flow.values
        layers: dict[tuple[Operand, int], dict[int, MatmulTerm]] = {}
        for place, found in enumerate(self.kernel.matmul_sums):
            for term in found.terms:
                again = 0
                while place in layers.setdefault((term.vector, again), {}):
                    again += 1
                layers[term.vector, again][place] = term
        begun: set[int] = set()
        runs: list[MicrokernelCall] = []
        for (vector, _), terms in layers.items():
            slots = [
                (place * self.vectors_per_block + v, terms[place], v)
                for place in sorted(terms)
                for v in range(self.vectors_per_block)
            ]
            while slots:
                first = slots[0][0]
                size = 1
                while (
                    size < min(self.tile_vectors, len(slots))
                    and slots[size][0] == first + size
                    and (slots[size][0] in begun) == (first in begun)
                ):
                    size += 1
                columns = tuple((term, v) for _, term, v in slots[:size])
                depth = values[vector.value].shape[0]
                runs.append(MicrokernelCall(vector, depth, first, columns, first in begun))
                begun.update(slot for slot, _, _ in slots[:size])
                slots = slots[size:]
        return tuple(runs)

    @cached_property
    def packed_block_size(self) -> int:
        """How many numbers the panels of one block hold."""
        return (
            sum(run.depth * len(run.columns) for run in self.microkernel_calls) * self.layout.lanes
        )

    @property
    def accumulator_size(self) -> int:
        """How many numbers the sums of one row of a block take."""
        return len(self.kernel.matmul_sums) * self.vectors_per_block * self.layout.lanes
