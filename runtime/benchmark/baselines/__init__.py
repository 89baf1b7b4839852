"""The contenders, one kind a file."""
