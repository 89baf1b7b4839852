"""Diagrams without coordinates, and their transformations: unrolled, annotated, highlighted."""
