"""Syntax tree to operator graph: names resolved, sizes inferred, operators inlined."""
