"""Partition a plan into C kernels and launches, and assign buffer slots."""
