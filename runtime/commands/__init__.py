"""The commands of `rnnc`, one module each, found by file name."""
