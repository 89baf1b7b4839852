"""Types of variables, and sizes that are inferred by unification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

TypeKind = Literal["real", "binary", "symbol"]
SIZE_LIMIT: Final = 2**27
"""The largest width of a vector; the largest matrix has as many entries times sixteen."""

MATRIX_LIMIT: Final = 2**31
"""The largest number of entries of one parameter."""


@dataclass(frozen=True, slots=True)
class Type:
    """`real[n]`, `binary[n]`, or `symbol[n]`; `str` prints it as the language writes it."""

    kind: TypeKind
    size: int

    def __str__(self) -> str:
        if self.kind == "real" and self.size == 1:
            return "real"
        return f"{self.kind}[{self.size}]"
