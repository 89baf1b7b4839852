"""Benchmarks of a model against its alternatives: checked first, then timed in turns."""
