"""Text to syntax tree: no torch, no networkx."""
