"""Sections of docs/performance.md: workloads, sizes, measurement and Markdown."""
