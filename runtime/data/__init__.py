"""Data sets: where they lie, how they are read and checked, and how they become batches."""
