"""Shape specializations of a compiled program, made when a shape first occurs."""

from __future__ import annotations

from typing import Final

from .compiled_program import CompiledProgram
from .packed_sequence import PackedSequence
from .shape_specialization import ShapeSpecialization
from .workspace_pool import is_worth_pooling

_MAX_SPECIALIZATIONS: Final = 64
"""Shapes that are remembered; each holds tables of a few kilobytes."""


class SpecializationCache:
    """A compiled program with its specializations by steps, batch size, threads and pass."""

    def __init__(self, program: CompiledProgram) -> None:
        self.program = program
        self._by_shape: dict[tuple[int, int, int, bool], ShapeSpecialization] = {}

    def specialization(
        self, sequence: PackedSequence, threads: int, *, adjoint: bool
    ) -> ShapeSpecialization:
        """Return the specialization of one pass; calls with lengths or resets get a fresh one."""
        if not sequence.is_uniform:
            return ShapeSpecialization(self.program, sequence, threads, adjoint=adjoint)
        key = (sequence.steps, sequence.batch_size, threads, adjoint)
        specialization = self._by_shape.get(key)
        if specialization is None:
            specialization = self._specialize(sequence, threads, adjoint=adjoint)
            if len(self._by_shape) >= _MAX_SPECIALIZATIONS:
                self._by_shape.clear()
            self._by_shape[key] = specialization
        return specialization

    def _specialize(
        self, sequence: PackedSequence, threads: int, *, adjoint: bool
    ) -> ShapeSpecialization:
        specialization = ShapeSpecialization(self.program, sequence, threads, adjoint=adjoint)
        if (
            not adjoint
            and is_worth_pooling(specialization.scratch_size)
            and self.program.launches(adjoint=True)
        ):
            # The backward pass takes the scratch block over, so the larger need decides.
            backward = self.specialization(sequence, threads, adjoint=True)
            specialization.scratch_size = max(specialization.scratch_size, backward.scratch_size)
        return specialization
