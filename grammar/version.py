"""The version of rnnc: its single definition, and part of the key of every cache entry."""

from __future__ import annotations

__version__ = "0.1.0"
