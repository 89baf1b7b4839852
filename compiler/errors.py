"""Errors that stages of the compiler raise for each other."""

from __future__ import annotations


class Unsupported(Exception):
    """An operation that a stage or backend does not support; the text names it."""
