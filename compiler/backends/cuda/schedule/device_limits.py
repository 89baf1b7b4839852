"""GPU limits that rule out a kernel before it is compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class DeviceLimits:
    """Limits of one GPU model.

    compute_capability: 90 for `sm_90`.
    multiprocessors: also the number of programs that are certain to run at the same time.
    shared_memory: maximum bytes of shared memory per program.
    registers: 32-bit registers per multiprocessor.
    Source: CUDA C++ Programming Guide, compute capabilities, technical specifications.
    """

    name: str
    compute_capability: int
    multiprocessors: int
    shared_memory: int
    registers: int = 65536

    def resident_programs(self, registers: int, shared_memory: int, threads: int) -> int:
        """Return the occupancy: the number of programs that a multiprocessor runs at a time.

        Registers are allocated to a warp in units of 256; the system reserves 1 KB of shared memory
        per program; a multiprocessor runs at most 2048 threads.
        """
        by_registers = self.registers // (-(-registers * 32 // 256) * 256 * threads // 32)
        by_shared = (self.shared_memory + 1024) // (shared_memory + 1024)
        return min(by_registers, by_shared, 2048 // threads)


A100: Final = DeviceLimits("A100", 80, 108, 163 * 1024)
H200: Final = DeviceLimits("H200", 90, 132, 227 * 1024)
KNOWN_DEVICES: Final = (A100, H200)

MIN_COMPUTE_CAPABILITY: Final = 80
"""The lowest compute capability with matrix instructions for TF32 and bfloat16."""


def unsupported_device_reason(index: int) -> str:
    """Return why kernels cannot run on the GPU of this index, or ""."""
    import torch

    if torch.version.hip is not None:
        return "it runs on NVIDIA's GPUs, not on AMD's"
    try:
        major, minor = torch.cuda.get_device_capability(index)
    except (RuntimeError, AssertionError) as error:
        return f"the GPU does not answer: {str(error).splitlines()[0]}"
    if 10 * major + minor < MIN_COMPUTE_CAPABILITY:
        name = torch.cuda.get_device_name(index)
        return f"{name} has compute capability {major}.{minor}; 8.0 is the oldest it runs on"
    return ""


def query_device_limits(index: int) -> DeviceLimits:
    """Read the limits of the GPU of this index from its driver."""
    import torch

    properties = torch.cuda.get_device_properties(index)
    shared_memory = getattr(properties, "shared_memory_per_block_optin", 0) or 48 * 1024
    return DeviceLimits(
        properties.name,
        10 * properties.major + properties.minor,
        properties.multi_processor_count,
        shared_memory,
    )
