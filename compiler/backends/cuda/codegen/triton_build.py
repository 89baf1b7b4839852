"""Load generated source as Triton functions, which Triton compiles at their first launch."""

from __future__ import annotations

import hashlib
import linecache
import threading
from typing import Any

_functions_by_source: dict[str, dict[str, Any]] = {}
_lock = threading.Lock()


def triton_unavailable_reason() -> str:
    """Return why Triton cannot be used, or ""."""
    try:
        import triton
    except ImportError as error:
        return f"Triton is not installed ({error}); it comes with torch for CUDA"
    except Exception as error:
        return f"Triton does not start: {error}"
    if not hasattr(triton, "knobs"):
        return f"Triton {getattr(triton, '__version__', '')} is too old: 3.6 and 3.7 are known"
    return ""


def is_interpreted() -> bool:
    """Return True if Triton interprets kernels, so that they run on CPU tensors."""
    import triton

    return bool(triton.knobs.runtime.interpret)


def load_functions(source: str) -> dict[str, Any]:
    """Return the functions of a kernel file by name, cached by source.

    Triton reads the source of a function through `linecache`; an entry there avoids a file on disk.
    """
    with _lock:
        namespace = _functions_by_source.get(source)
        if namespace is None:
            name = f"<rnnc {hashlib.sha256(source.encode()).hexdigest()[:16]}>"
            linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
            namespace = {"__name__": "rnnc.kernels"}
            exec(compile(source, name, "exec"), namespace)  # noqa: S102 - the compiler's own output
            _functions_by_source[source] = namespace
        return namespace
