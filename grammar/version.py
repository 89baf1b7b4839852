"""The version of rnnc, in its one place; part of the key of everything that is cached."""

from __future__ import annotations

from typing import Final

__version__: Final = "0.1.0"
