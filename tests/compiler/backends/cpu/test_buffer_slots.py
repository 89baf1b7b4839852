"""Places of values: none is taken while it is needed; memory that calls leave misleads none."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from types import MappingProxyType

import pytest
import torch

import rnnc
from rnnc.compiler.backends.cpu.schedule.buffer_slots import SAVED
from rnnc.compiler.backends.cpu.schedule.inplace_reuse import heirs_of
from rnnc.compiler.backends.cpu.schedule.kernel_partition import Unit
from rnnc.compiler.backends.cpu.specialize import compiled_program, shape_specialization
from rnnc.compiler.backends.cpu.specialize.compiled_program import WITHOUT, Program, compile_program
from rnnc.compiler.backends.cpu.specialize.packed_sequence import dense_rows
from rnnc.compiler.ir.dataflow import Flow, Value
from rnnc.compiler.request import training_request
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyse
from support.comparison.assertions import assert_close, grads
from support.faults.uninitialized_reads import unwritten
from support.generator import random_spec
from support.specs.multiple_delays import SEVERAL_DELAYS
from support.specs.parameter_values import PARAMETER_VALUES


def made(seed: int) -> Program:
    spec = random_spec(seed)
    return program_of(spec.text, spec.sizes)


def program_of(text: str, sizes: Mapping[str, int] = MappingProxyType({})) -> Program:
    graph = analyse(Source(text), parameters=sizes).graph
    assert graph is not None
    request = dataclasses.replace(training_request(graph, inputs=True), sink=True, without=WITHOUT)
    return compile_program(graph, request, double=True, level="plain")


def lives(found: Program, *, adjoint: bool) -> dict[int, tuple[int, int]]:
    """For each value that compiled code stores the jobs of its first and last use."""
    values, layout = found.layout.flow.values, found.layout
    segments = found.segments(adjoint=adjoint)
    jobs = [job for segment in segments for job in segment.compiled]
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for at, job in enumerate(jobs):
        numbers = job.values if isinstance(job, Unit) else (job.number,)
        for number in numbers:
            if isinstance(job, Unit) and number in layout.stored:
                first[number] = last[number] = at
            for read in values[number].operands:
                last[read.value] = at
    for number in layout.results:
        last[number] = len(jobs)
    for segment in segments:
        for number in segment.outside:
            last.update({r.value: len(jobs) for r in values[number].operands})
    return {number: (at, last[number]) for number, at in first.items()}


def inherited(found: Program) -> dict[int, int]:
    units = [unit for unit in found.layout.units if not unit.adjoint and not unit.outside]
    stored = frozenset(n for u in units for n in u.values if n in found.layout.stored)
    return heirs_of(found.layout, units, found.saved, stored)


@pytest.mark.parametrize("seed", range(12))
def test_no_place_is_taken_while_it_is_needed(seed: int) -> None:
    found = made(seed)
    for adjoint in (False, True):
        memory = found.memory(adjoint=adjoint)
        by_slot: dict[int, list[int]] = {}
        for number, slot in memory.slot_of.items():
            by_slot.setdefault(slot, []).append(number)
        spans = lives(found, adjoint=adjoint)
        heirs = inherited(found)
        for slot, numbers in by_slot.items():
            order = sorted((n for n in numbers if n in spans), key=lambda n: spans[n])
            for a, b in itertools.pairwise(order):
                # An heir is stored by the job that reads the place for the last time.
                assert spans[a][1] < spans[b][0] + (heirs.get(a) == b), numbers
            if len(numbers) > 1 and memory.slots[slot].block == SAVED:
                assert [heirs.get(min(numbers))] == [max(numbers)], numbers


@pytest.mark.parametrize("name", [*SEVERAL_DELAYS, *PARAMETER_VALUES])
def test_nothing_is_read_before_it_is_written(name: str) -> None:
    assert not unwritten(program_of({**SEVERAL_DELAYS, **PARAMETER_VALUES}[name]))


@pytest.mark.parametrize("part", range(4))
def test_random_specs_read_nothing_before_it_is_written(part: int) -> None:
    for seed in range(part, 48, 4):
        assert not unwritten(made(seed)), seed


def test_a_product_that_goes_into_its_reader_and_is_read_again_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def reads_it(flow: Flow, number: int, reader: Value) -> bool:
        return flow.readers[number] == (reader.number,)

    monkeypatch.setattr(Flow, "is_read_once", reads_it)
    assert unwritten(program_of(SEVERAL_DELAYS["one matrix, backward"]))


def test_gates_are_stored_where_their_inputs_were() -> None:
    graph = rnnc.compile("zoo:lstm", backend="reference").graph
    request = dataclasses.replace(training_request(graph), sink=True, without=WITHOUT)
    found = compile_program(graph, request, double=False, level="plain")
    heirs = inherited(found)
    assert len(heirs) == 4
    operations = {found.layout.flow.values[heir].operation for heir in heirs.values()}
    assert operations == {"sigmoid", "tanh"}


def test_some_places_are_shared() -> None:
    shared = 0
    for seed in range(12):
        memory = made(seed).memory(adjoint=True)
        shared += len(memory.slot_of) - len(memory.slots)
    assert shared > 0


def test_both_passes_find_what_is_saved_in_the_same_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Program, "address", lambda self, unit: 0)
    for seed in range(6):
        found = made(seed)
        passes = [found.geometry(dense_rows(7, 3), 1, adjoint=adjoint) for adjoint in (False, True)]
        assert passes[0].sizes[SAVED] == passes[1].sizes[SAVED]
        for number, place in passes[0].places.items():
            if place.block == SAVED:
                assert passes[1].places[number] == place


def test_memory_of_an_earlier_call_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (shape_specialization, compiled_program):
        monkeypatch.setattr(module, "WORTH_KEEPING", 0)
    torch.manual_seed(0)
    net = rnnc.compile("zoo:gru", hidden=19, backend="cpu").double()
    x = {(t, b): torch.randn(t, b, 88, dtype=torch.float64) for t, b in ((9, 4), (3, 2), (20, 5))}

    def answer(shape: tuple[int, int]) -> dict[str, torch.Tensor]:
        net.zero_grad()
        y, state = net(x[shape])
        (y.square().sum() + sum(part.sum() for part in state)).backward()
        return {"y": y.detach(), **grads(net)}

    alone = {}
    for shape in x:
        for spares in _spares(net):
            spares.clear()
        alone[shape] = answer(shape)
    for shape in [*x, *reversed(x), *x]:
        for spares in _spares(net):
            for spare in spares:
                spare.fill_(float("nan"))
        assert_close(answer(shape), alone[shape], 0.0)
    assert any(_spares(net))


def _spares(net: rnnc.compiler.module.compiled_rnn.CompiledRNN) -> list[list[torch.Tensor]]:
    backend = net.backends.choose(next(net.parameters()))
    return [found.spares for found in backend._programs.values()]  # type: ignore[attr-defined]
