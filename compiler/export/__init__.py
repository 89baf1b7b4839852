"""A compiled model as source text that needs torch and a C compiler, but not rnnc."""
