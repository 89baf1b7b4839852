"""Every contender by its name."""

from __future__ import annotations

from typing import Final

from rnnc.runtime.benchmark.workload.candidate import Maker
from rnnc.runtime.benchmark.workload.candidate_names import OWN

from .backends import backend
from .compiled_cell import compiled_cell
from .gemm_floor import necessary_products
from .jax_scan import jax_scan
from .peak_flops import peak
from .torch_layers import torch_layers

CONTENDERS: Final[dict[str, Maker]] = {
    **{name: backend(name) for name in OWN},
    "torch.nn": torch_layers,
    "compiled-cell": compiled_cell,
    "jax": jax_scan,
    "products": necessary_products,
    "peak": peak,
}
