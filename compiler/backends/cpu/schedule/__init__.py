"""Partition a plan into C kernels and place their buffers."""
