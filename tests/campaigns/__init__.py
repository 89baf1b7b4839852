"""Searches at length, which `make fuzz` runs: one search, of which every backend is a parameter."""
