"""Liveness, aliasing and buffer assignment."""
