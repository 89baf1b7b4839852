"""Operator graphs as diagrams: text, DOT, Mermaid, SVG, PDF, PNG and a page for the browser."""
