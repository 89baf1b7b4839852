"""rnnc: recurrent networks in operator notation, compiled to fused PyTorch modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .grammar.version import __version__

__all__ = [
    "RnnError",
    "__version__",
    "compile",
    "from_torch",
    "load_torch",
    "to_torch",
    "torch_state",
    "verify",
]

if TYPE_CHECKING:
    from .compiler.api import compile
    from .compiler.conformance.verify import verify
    from .compiler.torch_interop.torch_weights import from_torch, load_torch, to_torch, torch_state
    from .grammar.diagnostics.errors import RnnError


def __getattr__(name: str) -> Any:
    # Importing lazily keeps `import rnnc` (and so the command line) free of torch.
    if name == "compile":
        from .compiler.api import compile
        from .runtime.notebook import install_display_hooks

        install_display_hooks()
        return compile
    if name == "verify":
        from .compiler.conformance.verify import verify

        return verify
    if name == "load_ipython_extension":
        from .runtime.notebook import load_ipython_extension

        return load_ipython_extension
    if name == "RnnError":
        from .grammar.diagnostics.errors import RnnError

        return RnnError
    if name in {"from_torch", "load_torch", "to_torch", "torch_state"}:
        from .compiler.torch_interop import torch_weights

        return getattr(torch_weights, name)
    raise AttributeError(f"module 'rnnc' has no attribute {name!r}")
