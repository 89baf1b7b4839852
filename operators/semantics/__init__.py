"""Primitive operations, and the reference interpreter that gives them their meaning."""
