"""Classify exceptions of a GPU call by their remedy: memory, kernel or device."""

from __future__ import annotations

import traceback
from typing import Final, Literal

from rnnc.grammar.diagnostics.errors import RnnError

FailureKind = Literal["memory", "kernel", "device", ""]
"""`memory`: out of memory; `kernel`: a kernel cannot be built or launched; `device`: the GPU or its
driver has failed, and nothing runs on it in this process any more; empty: any other exception."""

CONTEXT_LOST_MESSAGES: Final = (
    "device-side assert",
    "illegal memory access",
    "illegal instruction",
    "illegal address",
    "misaligned address",
    "unspecified launch failure",
    "launch timed out",
    "hardware stack error",
    "uncorrectable",
    "context is destroyed",
    "driver shutting down",
    "unknown error",
    "no cuda-capable device",
    "initialization error",
    "device is lost",
)
"""Substrings of driver messages after which the CUDA context is unusable.

Source: CUDA Runtime API, cudaError: errors that "leave the process in an inconsistent state".
"""


def classify_failure(error: BaseException) -> FailureKind:
    """Return the kind of failure that an exception of a call stands for."""
    import torch

    if isinstance(error, RnnError) or not isinstance(error, Exception):
        return ""
    message = str(error).lower()
    if isinstance(error, torch.OutOfMemoryError) or _is_out_of_memory(error, message):
        return "memory"
    is_cuda_error = "cuda error" in message or "[cuda]" in message or "cuda driver" in message
    if isinstance(error, torch.AcceleratorError) or is_cuda_error:
        is_triton_error = "triton" in message and not any(
            part in message for part in CONTEXT_LOST_MESSAGES
        )
        return "kernel" if is_triton_error else "device"
    return "kernel" if _is_raised_in_triton(error) else ""


def _is_out_of_memory(error: Exception, message: str) -> bool:
    if not isinstance(error, RuntimeError):
        return False
    return "out of memory" in message or "_status_alloc_failed" in message


def _is_raised_in_triton(error: Exception) -> bool:
    """Return True for exceptions of Triton's compiler, launcher build or cache."""
    if type(error).__module__.partition(".")[0] == "triton":
        return True
    frames = traceback.walk_tb(error.__traceback__)
    return any(f.f_globals.get("__name__", "").partition(".")[0] == "triton" for f, _ in frames)


def summarize_error(error: BaseException) -> str:
    """Return an exception as one line: its last line if a compiler raised it, else its first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    name = type(error).__name__
    if not lines:
        return name
    summary = lines[-1] if name.startswith(("Compil", "Unsupported")) else lines[0]
    return summary if name in {"RuntimeError", "OutOfMemoryError"} else f"{name}: {summary}"


def launch_failure_reason(error: Exception) -> str:
    """Return why the GPU did not start a kernel, or "" for any other exception."""
    if type(error).__name__ == "OutOfResources":
        return f"the GPU does not start its kernel ({error})"
    if isinstance(error, RuntimeError) and "cooperative" in str(error):
        return f"the GPU does not run all its programs at the same time ({error})"
    return ""
