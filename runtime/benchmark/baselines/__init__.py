"""The candidates, one kind per module."""
