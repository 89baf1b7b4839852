"""The operator graph and its types."""
