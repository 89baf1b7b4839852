"""Tests and benchmarks that need a GPU, within a time budget."""
