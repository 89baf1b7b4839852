"""Launch kernels, record CUDA graphs, recover from failures."""
