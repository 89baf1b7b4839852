"""A random spec: its text, bound parameters, and ASCII spelling."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

ASCII = {
    "⊕": "(+)", "⊗": "(*)", "⊖": "(-)", "⊛": "(**)", "⊞": "[+]", "⊠": "[*]", "▷": "|>", "◁": "<|",
    "△": "/\\", "▽": "\\/", "⊙": "*", "σ": "sigmoid", "≈": "~=", "ᵀ": "^T",
}  # fmt: skip
SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


@dataclass(frozen=True)
class Spec:
    """A spec's text, with values of its parameters without default."""

    seed: int
    text: str
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def ascii(self) -> str:
        """The spec in ASCII."""
        text = re.sub("[₀-₉]+", lambda match: "_" + match[0].translate(SUBSCRIPTS), self.text)
        return "".join(ASCII.get(character, character) for character in text)
