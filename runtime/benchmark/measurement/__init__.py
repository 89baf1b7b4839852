"""Measurements of time, memory and machine load, in this process or separate ones."""
