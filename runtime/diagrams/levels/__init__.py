"""Build diagrams of a graph at the levels operator, layer, primitive and plan."""
