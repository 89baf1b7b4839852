"""The tables of docs/performance.md: what is measured, at which sizes, how it is written down."""
