"""Backends, one a file or folder, and the registry that chooses one."""
