"""Shared test code: specs, comparisons, faults, generators, processes."""
