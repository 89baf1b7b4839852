"""Every contender by its name."""

from __future__ import annotations

from typing import Final

from .contender import Maker
from .names import OWN
from .rivals.backends import backend
from .rivals.compiled_cell import compiled_cell
from .rivals.jax_scan import jax_scan
from .rivals.layers import torch_layers
from .rivals.peak import peak
from .rivals.products import necessary_products

CONTENDERS: Final[dict[str, Maker]] = {
    **{name: backend(name) for name in OWN},
    "torch.nn": torch_layers,
    "compiled-cell": compiled_cell,
    "jax": jax_scan,
    "products": necessary_products,
    "peak": peak,
}
