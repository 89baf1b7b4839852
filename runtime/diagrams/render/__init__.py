"""Render diagrams as SVG, DOT, Mermaid, PDF, PNG, or an interactive page."""
