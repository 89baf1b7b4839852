"""Benchmarks: the tables of docs/performance.md, and profiles of generated code."""
