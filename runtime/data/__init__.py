"""Data sets: their location, file format and checks, and their batches."""
