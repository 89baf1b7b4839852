"""Operator graph to torch module."""
