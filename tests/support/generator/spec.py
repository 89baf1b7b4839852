"""A spec's text, what its free parameters are bound to, and its other spelling."""

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
    """A spec's text and the values of its parameters that have no default."""

    seed: int
    text: str
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def ascii(self) -> str:
        """The same spec in ASCII."""
        text = re.sub("[₀-₉]+", lambda match: "_" + match[0].translate(SUBSCRIPTS), self.text)
        return "".join(ASCII.get(character, character) for character in text)
