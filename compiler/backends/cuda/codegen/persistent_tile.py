"""Stages whose weights stay on chip: loaded before the first step, whole where the products are.

A program has a share of every stage's columns: all of them, one block of block-diagonal matrices,
or a slice. Shares and products are cut into tiles whose extents are powers of two; the text of each
is written out, for what stays in registers or shared memory has no address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rnnc.compiler.backends.cuda.schedule.kernel_partition import Stage
from rnnc.compiler.backends.cuda.schedule.matmul_operands import Product, products_of
from rnnc.compiler.backends.cuda.schedule.persistent_layout import Shape
from rnnc.compiler.backends.cuda.schedule.tile_extents import LEAST, extents_of
from rnnc.compiler.ir.dataflow import Read

from .kernel_arguments import Argument
from .tile_body import Tile

_LOAD = re.compile(r"r\d\w* = ")
_PLACE = re.compile(r"\b(u|j|k|inside|deep)\b")


@dataclass
class KeptTile(Tile):
    """Writes the stages of a loop that keeps its weights.

    start: what a sum of products begins with.
    """

    shape: Shape = field(default_factory=lambda: Shape(16, 1, 0, False, 4, 0))
    start: str = "0.0"
    _mark: str = ""

    def weights(self) -> Iterator[str]:
        """Loads every matrix, before the first step.

        Columns and entries have names of their own here: a loop would carry along what it sets
        again, and Triton wants that of one extent.
        """
        yield from (_PLACE.sub(r"\1_", line) for line in self._weights())

    def _weights(self) -> Iterator[str]:
        for index, stage in enumerate(self.stages.stages):
            products = products_of(self.plan, stage)
            for first, extent in self._parts(stage) if products else ():
                self._mark = f"_{index}_{first}" if first else f"_{index}"
                yield from self._columns(stage, first, extent)
                for depth, at, size in self._depths(products):
                    yield from self._deep(depth, at, size)
                    for product in products:
                        if product.depth == depth:
                            yield f"{self._kept(product, at)} = {self.weight(product, stage.width)}"

    def weight(self, product: Product, width: int) -> str:
        """Of a block-diagonal matrix the block of this program."""
        if not product.block:
            return super().weight(product, width)
        base = self.arguments.add(Argument(f"w{product.matrix}", "whole", product.matrix))
        address = product.address(f"{base} + part * {product.block}", "j")
        return f"tl.load({address}, mask=deep[:, None] & inside[None, :], other=0.0)"

    def stage(self, index: int) -> Iterator[str]:
        """One stage, all tiles of a program's share of it."""
        stage = self.stages.stages[index]
        for first, extent in self._parts(stage):
            self._mark = f"_{index}_{first}" if first else f"_{index}"
            yield from self._columns(stage, first, extent)
            if stage.width == 1:
                yield "at = rows[:, None]"
                if self.shape.slices > 1:
                    yield "at = at & (part == 0)"
            else:
                yield "at = rows[:, None] & inside[None, :]"
            yield from _loads_first(self.body(stage))

    def products(self, stage: Stage) -> Iterator[str]:
        """Sums over the parts of a vector, with the weights that are at hand."""
        shared: dict[tuple[Read, int, int], list[Product]] = {}
        for product in products_of(self.plan, stage):
            key = (product.vector, product.first, product.depth)
            shared.setdefault(key, []).append(product)
        for (vector, start, depth), products in shared.items():
            for product in products:
                empty = f"tl.full((BM, {self.extent}), {self.start}, REAL)"
                yield f"{self.name(product.piece)} = {empty}"
            for first, extent in extents_of(depth):
                yield from self._deep(depth, first, extent)
                columns = f"(k + part * {depth})" if self.shape.blocks else "k"
                yield f"x = {self.vector(vector, start, depth, columns)}"
                for product in products:
                    name, kept = self.name(product.piece), self._kept(product, first)
                    yield f"{name} = product(x, {kept}, {name}, PRECISION)"
            if stage.width == 1:
                for product in products:
                    name = self.name(product.piece)
                    yield f"{name} = tl.sum({name}, 1)[:, None]"

    def _parts(self, stage: Stage) -> tuple[tuple[int, int], ...]:
        """(first column, extent) of each tile of a share."""
        if stage.width == 1:
            return ((0, LEAST),)
        return extents_of(self.shape.share(stage.width), self.shape.least)

    def _columns(self, stage: Stage, first: int, extent: int) -> Iterator[str]:
        """Sets `u`, the columns of a tile, and which of them are there."""
        self.extent = str(extent)
        if stage.width == 1:
            return
        share = self.shape.share(stage.width)
        own = f"{first} + tl.arange(0, {extent})" if first else f"tl.arange(0, {extent})"
        if self.shape.slices == 1:
            yield f"u = {own}"
            yield f"inside = u < {stage.width}"
            return
        if self.shape.blocks:
            yield f"j = {own}"
            own = "j"
        yield f"u = part * {share} + {own}"
        short = first + extent > share
        yield f"inside = u < {stage.width}"
        if short:
            yield f"inside = inside & ({own} < {share})"

    def _deep(self, depth: int, first: int, extent: int) -> Iterator[str]:
        yield f"k = {f'{first} + ' if first else ''}tl.arange(0, {extent})"
        yield f"deep = k < {depth}"

    def _depths(self, products: Iterable[Product]) -> Iterator[tuple[int, int, int]]:
        """(depth, first entry, extent) of each part, for each depth that products have."""
        for depth in dict.fromkeys(product.depth for product in products):
            for first, extent in extents_of(depth):
                yield depth, first, extent

    def _kept(self, product: Product, first: int) -> str:
        """The name of the part of a matrix that meets the entries from `first` on."""
        piece = f"{product.piece.value}_{product.piece.start}"
        return f"kept{self._mark}_{piece}_{first}"


def _loads_first(lines: Iterable[str]) -> Iterator[str]:
    """Entries that are read as they are before the products, so that nobody waits for them."""
    rest = []
    for line in lines:
        if _LOAD.match(line):
            yield line
        else:
            rest.append(line)
    yield from rest
