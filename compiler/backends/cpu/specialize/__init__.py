"""Shapes, threads and packed rows of one call signature."""
