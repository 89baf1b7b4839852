"""All candidates by name."""

from __future__ import annotations

from typing import Final

from rnnc.runtime.benchmark.workload.candidate import CandidateFactory
from rnnc.runtime.benchmark.workload.candidate_names import BACKEND_NAMES

from .backends import backend_candidate
from .compiled_cell import compiled_cell
from .gemm_floor import gemm_floor
from .jax_scan import jax_scan
from .peak_flops import peak_flops
from .torch_layers import torch_layers

CANDIDATES: Final[dict[str, CandidateFactory]] = {
    **{name: backend_candidate(name) for name in BACKEND_NAMES},
    "torch.nn": torch_layers,
    "compiled-cell": compiled_cell,
    "jax": jax_scan,
    "products": gemm_floor,
    "peak": peak_flops,
}
