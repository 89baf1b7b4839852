"""The version of rnnc, in its one place; part of the key of everything that is cached."""

from __future__ import annotations

__version__ = "0.1.0"
