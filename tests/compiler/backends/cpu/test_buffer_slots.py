"""Buffer slots: no live value loses its slot, and memory that calls leave misleads none."""

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


def random_program(seed: int) -> CompiledProgram:
    spec = random_spec(seed)
    return compile_text(spec.text, spec.sizes)


def compile_text(text: str, sizes: Mapping[str, int] = MappingProxyType({})) -> CompiledProgram:
    graph = analyze(Source(text), parameters=sizes).graph
    assert graph is not None
    request = dataclasses.replace(
        training_request(graph, inputs=True), sink_elementwise=True, without=DISABLED_PASSES
    )
    return compile_program(graph, request, double=True, isa="plain")


def live_ranges(program: CompiledProgram, *, adjoint: bool) -> dict[int, tuple[int, int]]:
    """For each value that compiled code stores the jobs of its first and last use."""
    values, layout = program.layout.flow.values, program.layout
    launches = program.launches(adjoint=adjoint)
    jobs = [job for launch in launches for job in launch.jobs]
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for position, job in enumerate(jobs):
        for value_id in job.values if isinstance(job, CpuKernelGroup) else (job.id,):
            if isinstance(job, CpuKernelGroup) and value_id in layout.stored_values:
                first[value_id] = last[value_id] = position
            for operand in values[value_id].operands:
                last[operand.value] = position
    for value_id in layout.result_values:
        last[value_id] = len(jobs)
    for launch in launches:
        for value_id in launch.aten_values:
            last.update({operand.value: len(jobs) for operand in values[value_id].operands})
    return {value_id: (start, last[value_id]) for value_id, start in first.items()}


def reused_buffers(program: CompiledProgram) -> dict[int, int]:
    groups = [group for group in program.generated_groups if not group.adjoint]
    stored = frozenset(
        value_id
        for group in groups
        for value_id in group.values
        if value_id in program.layout.stored_values
    )
    return find_inplace_reuse(program.layout, groups, program.residuals, stored)


@pytest.mark.parametrize("seed", range(12))
def test_no_slot_is_reused_while_its_value_is_live(seed: int) -> None:
    program = random_program(seed)
    for adjoint in (False, True):
        assignment = program.slot_assignment(adjoint=adjoint)
        by_slot: dict[int, list[int]] = {}
        for value_id, slot in assignment.slot_of.items():
            by_slot.setdefault(slot, []).append(value_id)
        ranges = live_ranges(program, adjoint=adjoint)
        reuse = reused_buffers(program)
        for slot, value_ids in by_slot.items():
            order = sorted((n for n in value_ids if n in ranges), key=lambda n: ranges[n])
            for a, b in itertools.pairwise(order):
                # In-place reuse: stored by the job that reads the buffer for the last time.
                assert ranges[a][1] < ranges[b][0] + (reuse.get(a) == b), value_ids
            if len(value_ids) > 1 and assignment.slots[slot].block == RESIDUAL_BLOCK:
                assert [reuse.get(min(value_ids))] == [max(value_ids)], value_ids


@pytest.mark.parametrize("name", [*MULTIPLE_DELAYS, *PARAMETER_VALUES])
def test_nothing_is_read_before_it_is_written(name: str) -> None:
    assert not find_uninitialized_reads(compile_text({**MULTIPLE_DELAYS, **PARAMETER_VALUES}[name]))


@pytest.mark.parametrize("part", range(4))
def test_random_specs_read_nothing_before_it_is_written(part: int) -> None:
    for seed in range(part, 48, 4):
        assert not find_uninitialized_reads(random_program(seed)), seed


def test_a_matmul_that_is_fused_though_it_has_two_uses_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def has_one_user(flow: Dataflow, value_id: int, user: Value) -> bool:
        return flow.users[value_id] == (user.id,)

    monkeypatch.setattr(Dataflow, "has_one_use", has_one_user)
    assert find_uninitialized_reads(compile_text(MULTIPLE_DELAYS["one matrix, backward"]))


def test_gates_reuse_the_buffers_of_their_inputs() -> None:
    graph = rnnc.compile("zoo:lstm", backend="reference").graph
    request = dataclasses.replace(
        training_request(graph), sink_elementwise=True, without=DISABLED_PASSES
    )
    program = compile_program(graph, request, double=False, isa="plain")
    reuse = reused_buffers(program)
    assert len(reuse) == 4
    operations = {program.layout.flow.values[result].operation for result in reuse.values()}
    assert operations == {"sigmoid", "tanh"}


def test_some_slots_are_shared() -> None:
    shared = 0
    for seed in range(12):
        assignment = random_program(seed).slot_assignment(adjoint=True)
        shared += len(assignment.slot_of) - len(assignment.slots)
    assert shared > 0


def test_both_passes_find_residuals_in_the_same_regions() -> None:
    for seed in range(6):
        program = random_program(seed)
        passes = [
            ShapeSpecialization(program, dense_sequence(7, 3), 1, adjoint=adjoint)
            for adjoint in (False, True)
        ]
        assert passes[0].block_sizes[RESIDUAL_BLOCK] == passes[1].block_sizes[RESIDUAL_BLOCK]
        for value_id, region in passes[0].regions.items():
            if region.block == RESIDUAL_BLOCK:
                assert passes[1].regions[value_id] == region


def test_memory_of_an_earlier_call_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace_pool, "MIN_POOLED_NUMBERS", 0)
    torch.manual_seed(0)
    net = rnnc.compile("zoo:gru", hidden=19, backend="cpu").double()
    x = {(t, b): torch.randn(t, b, 88, dtype=torch.float64) for t, b in ((9, 4), (3, 2), (20, 5))}

    def train_step(shape: tuple[int, int]) -> dict[str, torch.Tensor]:
        net.zero_grad()
        y, state = net(x[shape])
        (y.square().sum() + sum(part.sum() for part in state)).backward()
        return {"y": y.detach(), **parameter_gradients(net)}

    alone = {}
    for shape in x:
        for workspaces in _idle_workspaces(net):
            workspaces.clear()
        alone[shape] = train_step(shape)
    for shape in [*x, *reversed(x), *x]:
        for workspaces in _idle_workspaces(net):
            for workspace in workspaces:
                workspace.fill_(float("nan"))
        assert_close(train_step(shape), alone[shape], 0.0)
    assert any(_idle_workspaces(net))


def _idle_workspaces(
    net: rnnc.compiler.module.compiled_rnn.CompiledRNN,
) -> list[list[torch.Tensor]]:
    backend = net.backends.choose(next(net.parameters()))
    programs = backend._programs.values()  # type: ignore[attr-defined]
    return [cache.program.workspaces._idle for cache in programs]
