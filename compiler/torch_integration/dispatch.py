"""One call on the backend that runs it, in eager mode and in what `torch.compile` traces.

What else may trace a call is told, and served, by `differentiable.run`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from rnnc.compiler.backends.registry import Backends
from rnnc.compiler.calls.autocast import autocast_type, narrowed, widened
from rnnc.operators.semantics.call import Call, Result

from . import autograd_function
from .custom_op import backends_of, run_traced


def run(backends: Backends, call: Call, like: Tensor, key: str) -> Result:
    """Run one call, differentiably.

    key: what `custom_op.backends_of` makes the same backends from.
    """
    if torch.compiler.is_compiling():
        asked = autocast_type(like)
        if asked is not None and _narrows(key, str(like.device), str(asked)):
            return widened(run_traced(narrowed(call, asked), key), like.dtype)
        return run_traced(call, key)
    # The tracer, which takes a second to import, is there if anything is traced. Between two parts
    # that it traces it would look at a plan's loop, and unroll it.
    if "torch._dynamo" in sys.modules:
        return _untraced()(backends, call, like, key)
    return _run(backends, call, like, key)


def _narrows(key: str, device: str, dtype: str) -> bool:
    """Whether the backend that runs a model computes in the type that autocast asks for."""
    _, backends = backends_of(key)
    single = torch.empty(0, device=device)
    chosen = backends.choose(single)
    asked = getattr(torch, dtype.removeprefix("torch."))
    return chosen.obeys_autocast and not chosen.refuses(single.to(asked))


# The tracer calls it, and takes its answer for a constant. This is all that
# `torch.compiler.assume_constant_result` does, which would import the tracer.
_narrows._dynamo_marked_constant = True  # type: ignore[attr-defined]


@cache
def _untraced() -> Callable[[Backends, Call, Tensor, str], Result]:
    return torch.compiler.disable(_run)  # type: ignore[no-any-return, no-untyped-call]


def _run(backends: Backends, call: Call, like: Tensor, key: str) -> Result:
    return autograd_function.run(backends.choose(like), call, partial(run_traced, key=key))
