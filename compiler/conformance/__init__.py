"""Checks of a compiled model against its graph, on this machine: `rnnc verify`."""
