"""C source of the kernels."""
