"""Triton source of the kernels."""
