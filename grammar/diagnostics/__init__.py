"""Diagnostics: values, codes, rendering, suggestions."""
