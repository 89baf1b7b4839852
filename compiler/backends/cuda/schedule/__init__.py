"""Partition a plan into GPU kernels."""
