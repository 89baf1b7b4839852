"""Injected faults, and detectors of uninitialized or unordered memory accesses."""
