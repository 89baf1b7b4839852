"""Expressions to nodes of the growing graph."""
