"""Errors that stages of the compiler raise for each other."""

from __future__ import annotations


class Unsupported(Exception):
    """An operation that flows do not have; its text says which."""
