"""Coordinates of a diagram."""
