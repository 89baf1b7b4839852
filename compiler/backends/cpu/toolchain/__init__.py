"""The C compiler and the cache of compiled kernels."""
