"""Tuning table: the fastest tile sizes, strategies and libraries by kernel and loop sizes.

`rnnc bench --tune` alone fills it. A key that is not in the table takes the default.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from rnnc.compiler.backends.cuda.codegen.triton_kernel import TritonKernel
from rnnc.compiler.backends.cuda.schedule.kernel_partition import partition_stages
from rnnc.compiler.backends.cuda.schedule.loop_strategy import LoopStrategy
from rnnc.compiler.backends.cuda.schedule.matmul_operands import stage_matmuls
from rnnc.compiler.backends.cuda.schedule.persistent_layout import DeviceContext
from rnnc.compiler.schedule.plan import Phase, Plan

from .tile_sizes import Tiling

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class TuningTable:
    """The fastest implementations that were measured on one device.

    tilings: by `kernel_key`.
    tiers: strategies of loops by `loop_key`.
    libraries: by `CudnnLayers.tuning_key`, models that run faster in a library as a whole.
    """

    tilings: Mapping[str, Tiling] = field(default_factory=dict)
    tiers: Mapping[str, LoopStrategy] = field(default_factory=dict)
    libraries: Mapping[str, Literal["cudnn"]] = field(default_factory=dict)

    def merge(self, other: TuningTable) -> TuningTable:
        """Return the union of two tables; this one takes precedence."""
        return TuningTable(
            {**other.tilings, **self.tilings},
            {**other.tiers, **self.tiers},
            {**other.libraries, **self.libraries},
        )

    def without(self, keys: Collection[str]) -> TuningTable:
        """Return the table without the entries of some keys."""

        def drop_keys(entries: Mapping[str, V]) -> dict[str, V]:
            return {key: value for key, value in entries.items() if key not in keys}

        return TuningTable(
            drop_keys(self.tilings), drop_keys(self.tiers), drop_keys(self.libraries)
        )


def kernel_key(kernel: TritonKernel, element_size: int) -> str:
    """Return the key of a kernel's tiling: kind, width, matmuls and element size."""
    return f"{kernel.kind} width={kernel.width} products={kernel.matmuls} bytes={element_size}"


def loop_key(plan: Plan, phase: Phase, context: DeviceContext) -> str:
    """Return the key of a loop's strategy: sizes, dtype, batch size rounded up to 2ⁿ."""
    sizes = [
        f"{stage.width}:" + "+".join(str(p.depth) for p in stage_matmuls(plan, stage))
        for stage in partition_stages(plan, phase.values).stages
    ]
    batch_size = 1 << max(0, context.batch_size - 1).bit_length() if context.batch_size else 0
    properties = f"bytes={context.element_size} {context.precision} rows={batch_size}"
    return f"{'>' if phase.direction > 0 else '<'} {' '.join(sizes)} {properties}"
