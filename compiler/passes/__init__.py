"""Rewrites of flows, one a file: what they make of what, and when they may."""
