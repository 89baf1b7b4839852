"""Graphs that are layers of torch.nn, run by cuDNN."""
