"""Diagrams as files: SVG, DOT, Mermaid, PDF, PNG, a web page."""
