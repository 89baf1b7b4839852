"""The C file of an exported module."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from ...grammar.version import __version__
from ..backends.cpu.emit import shared_text
from ..backends.cpu.toolchain import VECTOR_BYTES, Level
from .programs import Usual, unit_in_words


def kernels(
    programs: Iterable[Usual], model: str, level: Level, name: str
) -> tuple[dict[str, dict[int, str]], str]:
    """For each program the C functions of its units, and the C file that holds them."""
    known: dict[tuple[str, str], str] = {}
    functions: dict[str, dict[int, str]] = {}
    texts: tuple[list[str], list[str]] = ([], [])
    for usual in programs:
        functions[usual.name] = {}
        for unit in usual.double.layout.units:
            if unit.outside:
                continue
            own = usual.double.emitter.function(unit)
            pair = [p.emitter.unit_text(unit) for p in usual.pair]
            # Programs have many units in common.
            key = (pair[0].replace(own, "unit"), pair[1].replace(own, "unit"))
            if key not in known:
                known[key] = own
                words = unit_in_words(usual.double.layout.flow, unit)
                comment = textwrap.fill(words, 96, initial_indent="// ", subsequent_indent="// ")
                for text, into in zip(pair, texts, strict=True):
                    into.append(f"{comment}\n{text}")
            functions[usual.name][unit.number] = known[key]
    head = (
        f"// {name}.c: the kernels of the model `{model}`, written by rnnc {__version__} for "
        f"{name}.py,\n// which compiles them with IS_DOUBLE 0 (float32) and 1 (float64).\n"
        "#if IS_DOUBLE\n#define REAL double\n#define INTEGER int64_t\n"
        "#else\n#define REAL float\n#define INTEGER int32_t\n#endif\n"
        f"#define VECTOR_BYTES {VECTOR_BYTES[level]}\n\n"
    )
    double, single = ("\n".join(text) for text in texts)
    return (
        functions,
        f"{head}{shared_text()}\n#if IS_DOUBLE\n\n{double}\n#else\n\n{single}\n#endif\n",
    )
