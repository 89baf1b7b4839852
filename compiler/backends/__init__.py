"""One backend a file or folder, and the registry that chooses."""
