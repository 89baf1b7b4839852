"""Draw diagrams in characters: layered layout, edge routing, character canvas."""
