"""One call on the backend that runs it, in eager mode and in what `torch.compile` traces."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from ...operators.call import Call, Result
from . import differentiable
from .custom_op import run_traced
from .registry import Backends


def run(backends: Backends, call: Call, like: Tensor, key: str) -> Result:
    """Run one call, differentiably.

    key: what `custom_op.backends_of` makes the same backends from.
    """
    if torch.compiler.is_compiling():
        return run_traced(call, key)
    # The tracer, which takes a second to import, is there if anything is traced. Between two parts
    # that it traces it would look at a plan's loop, and unroll it.
    if "torch._dynamo" in sys.modules:
        return _untraced()(backends, call, like)
    return differentiable.run(backends.choose(like), call)


@cache
def _untraced() -> Callable[[Backends, Call, Tensor], Result]:
    return torch.compiler.disable(_run)  # type: ignore[no-any-return, no-untyped-call]


def _run(backends: Backends, call: Call, like: Tensor) -> Result:
    return differentiable.run(backends.choose(like), call)
