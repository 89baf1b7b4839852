"""Specs for tests, by name."""
