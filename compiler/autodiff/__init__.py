"""Reverse-mode differentiation of the dataflow graph."""
