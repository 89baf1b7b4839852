"""Diagrams of a graph at the levels layer, primitive and plan."""
