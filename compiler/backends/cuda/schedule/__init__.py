"""Partition a plan into kernel stages, and choose how loops keep their weights."""
