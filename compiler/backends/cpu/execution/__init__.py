"""Calls of compiled kernels: bind arguments, run or replay launches."""
