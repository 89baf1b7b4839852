"""The part of an exported module that is the model's own: its graph, and its programs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from functools import cached_property

from ...operators.graph import OperatorGraph
from ..backends.cpu.program import Program
from .exported import Names, Written
from .literals import Code, Literals
from .modules import Key
from .programs import Usual, unit_in_words

Pair = tuple[Written, Written]
"""A program for float64, and for float32."""


def described(
    literals: Literals,
    graph: OperatorGraph,
    programs: tuple[Usual, ...],
    pairs: Mapping[str, Pair],
) -> Iterator[str]:
    """The model's own part: its graph, and its programs."""
    name = literals.writer.name(Key("rnnc.operators.graph", "OperatorGraph"))
    yield (
        f'def graph() -> {name}:\n    """Inputs, states, outputs and parameters of the model."""\n'
        f"    return {literals.write(graph, graph, 4)}\n"
    )
    literals.known[id(graph)] = "GRAPH"
    if graph.losses is not None:
        literals.known[id(graph.losses.graph)] = "GRAPH.losses.graph"
    for usual in programs:
        yield _program(literals, usual, pairs[usual.name])


def _program(literals: Literals, usual: Usual, pair: Pair) -> str:
    name = literals.writer.name(Key(f"{__package__}.exported", "Written"))
    what = "`loss` terms" if usual.name.startswith("loss_") else "calls"
    if len(usual.modes) == 1 and not usual.name.startswith("loss_"):
        what += " in training" if usual.modes[0] else " in evaluation"
    before = dict(literals.known)
    flows = [written.layout.flow for written in pair]
    values = literals.write(flows[0].values, flows[1].values, 4)
    literals.known.update({id(flow.values): "values" for flow in flows if flow.values})
    literals.known.update({id(v): f"values[{v.number}]" for flow in flows for v in flow.values})
    units = _units(literals, pair)
    literals.known.update({id(w.layout.units): "units" for w in pair if w.layout.units})
    for written in pair:
        literals.known.update({id(u): f"units[{u.number}]" for u in written.layout.units})
    plan = literals.write(*pair, 4)
    literals.known = before
    return (
        f"def {usual.name}(double: bool) -> {name}:\n"
        f'    """Plan of {what} {usual.about}, in float64 if `double`, else in float32."""\n'
        f"    values = {values}\n"
        f"    units = {units}\n"
        f"    return {plan}\n"
    )


def _units(literals: Literals, pair: Pair) -> str:
    """The units, each under a line that says what it does."""
    lines = ["("]
    flow = pair[0].layout.flow
    for unit, other in zip(*(written.layout.units for written in pair), strict=True):
        words = unit_in_words(flow, unit)
        lines.append(
            textwrap.fill(words, 92, initial_indent="        # ", subsequent_indent="        # ")
        )
        lines.append(f"        {literals.write(unit, other, 8)},")
    return "\n".join([*lines, "    )"])


def written(program: Program, functions: dict[int, str]) -> Written:
    """A program whose C lies in a file, and whose cached properties are known."""
    found = Written(
        program.layout,
        Names(functions, program.emitter.vectors),  # type: ignore[arg-type]
        Code("double"),  # type: ignore[arg-type]
        Code("machine_level()"),  # type: ignore[arg-type]
        kernels=Code("KERNELS"),  # type: ignore[arg-type]
    )
    for name, member in vars(Program).items():
        if isinstance(member, cached_property):
            vars(found)[name] = getattr(program, name)
    return found
