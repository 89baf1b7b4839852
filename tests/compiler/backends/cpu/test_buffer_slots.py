"""Places of values: none is taken while it is needed; memory that calls leave misleads none."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from types import MappingProxyType

import pytest
import torch

import rnnc
from rnnc.compiler.backends.cpu.schedule.buffer_slots import RESIDUAL_BLOCK
from rnnc.compiler.backends.cpu.schedule.inplace_reuse import find_inplace_reuse
from rnnc.compiler.backends.cpu.schedule.kernel_partition import CpuKernelGroup
from rnnc.compiler.backends.cpu.specialize import workspace_pool
from rnnc.compiler.backends.cpu.specialize.compiled_program import (
    DISABLED_PASSES,
    CompiledProgram,
    compile_program,
)
from rnnc.compiler.backends.cpu.specialize.packed_sequence import dense_sequence
from rnnc.compiler.backends.cpu.specialize.shape_specialization import ShapeSpecialization
from rnnc.compiler.ir.dataflow import Dataflow, Value
from rnnc.compiler.request import training_request
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from support.comparison.assertions import assert_close, parameter_gradients
from support.faults.uninitialized_reads import find_uninitialized_reads
from support.generator import random_spec
from support.specs.multiple_delays import MULTIPLE_DELAYS
from support.specs.parameter_values import PARAMETER_VALUES


def made(seed: int) -> CompiledProgram:
    spec = random_spec(seed)
    return program_of(spec.text, spec.sizes)


def program_of(text: str, sizes: Mapping[str, int] = MappingProxyType({})) -> CompiledProgram:
    graph = analyze(Source(text), parameters=sizes).graph
    assert graph is not None
    request = dataclasses.replace(
        training_request(graph, inputs=True), sink_elementwise=True, without=DISABLED_PASSES
    )
    return compile_program(graph, request, double=True, isa="plain")


def lives(found: CompiledProgram, *, adjoint: bool) -> dict[int, tuple[int, int]]:
    """For each value that compiled code stores the jobs of its first and last use."""
    values, layout = found.layout.flow.values, found.layout
    segments = found.launches(adjoint=adjoint)
    jobs = [job for segment in segments for job in segment.jobs]
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for at, job in enumerate(jobs):
        numbers = job.values if isinstance(job, CpuKernelGroup) else (job.id,)
        for number in numbers:
            if isinstance(job, CpuKernelGroup) and number in layout.stored_values:
                first[number] = last[number] = at
            for read in values[number].operands:
                last[read.value] = at
    for number in layout.result_values:
        last[number] = len(jobs)
    for segment in segments:
        for number in segment.aten_values:
            last.update({r.value: len(jobs) for r in values[number].operands})
    return {number: (at, last[number]) for number, at in first.items()}


def inherited(found: CompiledProgram) -> dict[int, int]:
    units = [
        unit for unit in found.layout.kernel_groups if not unit.adjoint and not unit.runs_in_aten
    ]
    stored = frozenset(n for u in units for n in u.values if n in found.layout.stored_values)
    return find_inplace_reuse(found.layout, units, found.residuals, stored)


@pytest.mark.parametrize("seed", range(12))
def test_no_place_is_taken_while_it_is_needed(seed: int) -> None:
    found = made(seed)
    for adjoint in (False, True):
        memory = found.slot_assignment(adjoint=adjoint)
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
            if len(numbers) > 1 and memory.slots[slot].block == RESIDUAL_BLOCK:
                assert [heirs.get(min(numbers))] == [max(numbers)], numbers


@pytest.mark.parametrize("name", [*MULTIPLE_DELAYS, *PARAMETER_VALUES])
def test_nothing_is_read_before_it_is_written(name: str) -> None:
    assert not find_uninitialized_reads(program_of({**MULTIPLE_DELAYS, **PARAMETER_VALUES}[name]))


@pytest.mark.parametrize("part", range(4))
def test_random_specs_read_nothing_before_it_is_written(part: int) -> None:
    for seed in range(part, 48, 4):
        assert not find_uninitialized_reads(made(seed)), seed


def test_a_product_that_goes_into_its_reader_and_is_read_again_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def reads_it(flow: Dataflow, number: int, reader: Value) -> bool:
        return flow.users[number] == (reader.id,)

    monkeypatch.setattr(Dataflow, "has_one_use", reads_it)
    assert find_uninitialized_reads(program_of(MULTIPLE_DELAYS["one matrix, backward"]))


def test_gates_are_stored_where_their_inputs_were() -> None:
    graph = rnnc.compile("zoo:lstm", backend="reference").graph
    request = dataclasses.replace(
        training_request(graph), sink_elementwise=True, without=DISABLED_PASSES
    )
    found = compile_program(graph, request, double=False, isa="plain")
    heirs = inherited(found)
    assert len(heirs) == 4
    operations = {found.layout.flow.values[heir].operation for heir in heirs.values()}
    assert operations == {"sigmoid", "tanh"}


def test_some_places_are_shared() -> None:
    shared = 0
    for seed in range(12):
        memory = made(seed).slot_assignment(adjoint=True)
        shared += len(memory.slot_of) - len(memory.slots)
    assert shared > 0


def test_both_passes_find_what_is_saved_in_the_same_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CompiledProgram, "function_address", lambda self, unit: 0)
    for seed in range(6):
        found = made(seed)
        passes = [
            ShapeSpecialization(found, dense_sequence(7, 3), 1, adjoint=adjoint)
            for adjoint in (False, True)
        ]
        assert passes[0].block_sizes[RESIDUAL_BLOCK] == passes[1].block_sizes[RESIDUAL_BLOCK]
        for number, place in passes[0].regions.items():
            if place.block == RESIDUAL_BLOCK:
                assert passes[1].regions[number] == place


def test_memory_of_an_earlier_call_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace_pool, "MIN_POOLED_NUMBERS", 0)
    torch.manual_seed(0)
    net = rnnc.compile("zoo:gru", hidden=19, backend="cpu").double()
    x = {(t, b): torch.randn(t, b, 88, dtype=torch.float64) for t, b in ((9, 4), (3, 2), (20, 5))}

    def answer(shape: tuple[int, int]) -> dict[str, torch.Tensor]:
        net.zero_grad()
        y, state = net(x[shape])
        (y.square().sum() + sum(part.sum() for part in state)).backward()
        return {"y": y.detach(), **parameter_gradients(net)}

    alone = {}
    for shape in x:
        for workspaces in _idle_workspaces(net):
            workspaces.clear()
        alone[shape] = answer(shape)
    for shape in [*x, *reversed(x), *x]:
        for workspaces in _idle_workspaces(net):
            for workspace in workspaces:
                workspace.fill_(float("nan"))
        assert_close(answer(shape), alone[shape], 0.0)
    assert any(_idle_workspaces(net))


def _idle_workspaces(
    net: rnnc.compiler.module.compiled_rnn.CompiledRNN,
) -> list[list[torch.Tensor]]:
    backend = net.backends.choose(next(net.parameters()))
    programs = backend._programs.values()  # type: ignore[attr-defined]
    return [cache.program.workspaces._idle for cache in programs]
