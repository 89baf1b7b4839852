"""Types of variables, and the limits on sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

TypeKind = Literal["real", "binary", "symbol"]
SIZE_LIMIT: Final = 2**27
"""Largest size of a vector; the largest parameter has sixteen times as many entries."""

MATRIX_LIMIT: Final = 2**31
"""Largest number of entries of a parameter."""


@dataclass(frozen=True, slots=True)
class Type:
    """`real[n]`, `binary[n]`, or `symbol[n]`; `str` prints it as the language writes it."""

    kind: TypeKind
    size: int

    def __str__(self) -> str:
        if self.kind == "real" and self.size == 1:
            return "real"
        return f"{self.kind}[{self.size}]"
