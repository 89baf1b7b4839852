"""Dispatch a call to its backend in eager mode, or to the custom op under `torch.compile`.

Other tracers are detected and served by `run_with_autograd`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from rnnc.compiler.backends.registry import Backends
from rnnc.compiler.calls.autocast import autocast_dtype, cast_call, cast_result
from rnnc.operators.semantics.call import Call, CallResult

from . import autograd_function
from .custom_op import backends_from_key, run_as_custom_op


def dispatch_call(backends: Backends, call: Call, like: Tensor, key: str) -> CallResult:
    """Run one call, differentiably.

    key: the text of `custom_op.model_key`, for the same backends.
    """
    if torch.compiler.is_compiling():
        dtype = autocast_dtype(like)
        if dtype is not None and _casts_for_autocast(key, str(like.device), str(dtype)):
            return cast_result(run_as_custom_op(cast_call(call, dtype), key), like.dtype)
        return run_as_custom_op(call, key)
    # torch._dynamo takes a second to import, and is imported if anything is traced. After a graph
    # break it would trace, and unroll, the loop over a plan's steps.
    if "torch._dynamo" in sys.modules:
        return _run_untraced()(backends, call, like, key)
    return _run_eager(backends, call, like, key)


def _casts_for_autocast(key: str, device: str, dtype_name: str) -> bool:
    """Return True if the model's backend computes in the dtype that autocast asks for."""
    _, backends = backends_from_key(key)
    float32 = torch.empty(0, device=device)
    backend = backends.choose(float32)
    dtype = getattr(torch, dtype_name.removeprefix("torch."))
    return backend.supports_autocast and not backend.unsupported_reason(float32.to(dtype))


# Dynamo calls it and treats its result as a constant. `torch.compiler.assume_constant_result` does
# no more than this, but imports Dynamo.
_casts_for_autocast._dynamo_marked_constant = True  # type: ignore[attr-defined]


@cache
def _run_untraced() -> Callable[[Backends, Call, Tensor, str], CallResult]:
    return torch.compiler.disable(_run_eager)  # type: ignore[no-any-return, no-untyped-call]


def _run_eager(backends: Backends, call: Call, like: Tensor, key: str) -> CallResult:
    return autograd_function.run_with_autograd(
        backends.choose(like), call, partial(run_as_custom_op, key=key)
    )
