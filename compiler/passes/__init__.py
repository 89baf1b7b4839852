"""Rewrites of the dataflow: a pass a file, with its effect and its condition."""
