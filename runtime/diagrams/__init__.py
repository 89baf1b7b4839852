"""Draw operator graphs as text, DOT, Mermaid, SVG, PDF, PNG or an interactive page."""
