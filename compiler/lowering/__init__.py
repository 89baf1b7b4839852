"""Operator graph to dataflow graph."""
