"""The user's cache folder."""

from __future__ import annotations

from pathlib import Path


def user_cache() -> Path:
    """The user's folder of caches for rnnc."""
    from platformdirs import user_cache_path

    return user_cache_path("rnnc")
