"""Reading and batching data."""
