"""Diagrams without coordinates: boxes, frames, edges, labels."""
