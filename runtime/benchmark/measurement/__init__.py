"""Clocks, statistics and the state of the machine."""
