"""Products of all steps that torch may take instead of generated code, and where they go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rnnc.compiler.ir.dataflow import Read

from .frame_layout import Layout
from .kernel_partition import Stage, Term, Unit
from .weight_grad_groups import Group


@dataclass(frozen=True, slots=True)
class Landing:
    """A sum of products, and the value whose rows it is put into until its stage reads it there.

    bias: the value that is added to each row, or −1; where nothing is left for the stage to do.
    """

    value: int
    terms: tuple[Term, ...]
    bias: int = -1


@dataclass(frozen=True, slots=True)
class Wide:
    """A stage that may find its products done.

    stage: its place in its unit.
    complete: whether the products, with their biases, are all of it.
    work: multiplications a row.
    name: what it computes, in short; equal for stages that take equally long.
    """

    stage: int
    landings: tuple[Landing, ...]
    complete: bool
    work: int
    name: str


@dataclass(frozen=True, slots=True)
class Part:
    """Stages of a unit, from one on and before another; of the first one products may be done."""

    unit: Unit
    first: int
    last: int
    done: bool = False


@dataclass(frozen=True, slots=True)
class Theirs:
    """Sums that torch takes."""

    group: Group


Helped = tuple[Landing | Theirs | Part, ...]
"""What torch does, and what is left for generated code."""


@dataclass(frozen=True, slots=True)
class Either:
    """Work that generated code does, or torch: a stage of a unit, or some sums.

    key: its size, by which the faster way is remembered.
    """

    key: str
    own: Part | Group
    theirs: Helped


def wide_stages(layout: Layout, unit: Unit) -> tuple[Wide, ...]:
    """The stages of a unit whose products torch may take."""
    if unit.direction:
        return ()
    return tuple(_wide_stages(layout, unit))


def _wide_stages(layout: Layout, unit: Unit) -> Iterator[Wide]:
    values = layout.flow.values
    for index, stage in enumerate(unit.stages):
        terms = [term for found in stage.sums for term in found.terms]
        plain = all(
            len(values[t.weight].shape) == 2
            and values[t.vector.value].rate == "step"
            and not t.vector.delay
            for t in terms
        )
        places = _places(layout, stage)
        if not terms or not plain or len(places) < len(stage.sums):
            continue
        complete = set(stage.values) == set(places) == {found.value for found in stage.sums}
        complete &= all(_is_bias(layout, stage, found.rest) for found in stage.sums)
        landings = tuple(
            Landing(place, found.terms, found.rest[0].value if complete and found.rest else -1)
            for place, found in zip(places, stage.sums, strict=True)
        )
        depths = [(values[t.vector.value].shape[0], t.transposed) for t in terms]
        shapes = " ".join(f"{depth}{'t' if flipped else ''}" for depth, flipped in depths)
        name = f"{len(stage.sums)} x {stage.width} of {shapes}, {len(stage.values)} values"
        work = stage.width * sum(depth for depth, _ in depths)
        yield Wide(index, landings, complete, work, name)


def _is_bias(layout: Layout, stage: Stage, rest: tuple[Read, ...]) -> bool:
    """Whether a sum has but its products, and at most one vector that is the same for all rows."""
    if not rest:
        return True
    value = layout.flow.values[rest[0].value]
    return len(rest) == 1 and value.rate == "call" and value.shape == (stage.width,)


def _places(layout: Layout, stage: Stage) -> list[int]:
    """For each sum of a stage the value that it is put into: itself if it is stored at all."""
    stored = [n for n in stage.values if n in layout.stored]
    sums = [found.value for found in stage.sums]
    others = iter([n for n in stored if n not in sums])
    found = [number if number in stored else next(others, -1) for number in sums]
    return [number for number in found if number >= 0]
