"""Syntax tree to operator graph, and what every operator means."""
