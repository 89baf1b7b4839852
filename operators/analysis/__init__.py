"""Analyses of a finished operator graph: causality, depth, summary."""
