"""Keeps `torch.compile` from looking into a call of a backend.

A plan's loop would be unrolled step by step, anew for each T: the compiler's own work is done
already. Around the call `torch.compile` goes on as ever.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

from ...operators.call import Call, Result


def untraced(run: Callable[[Call], Result], call: Call) -> Result:
    """Run a call outside of what `torch.compile` traces."""
    if torch.compiler.is_compiling():
        torch._dynamo.graph_break()
    tracer = sys.modules.get("torch._dynamo")
    # The tracer, which takes a second to import, is there if anything is traced.
    return run(call) if tracer is None else tracer.disable(run)(call)
