"""Broken specs, and single-token mutations of valid ones."""
