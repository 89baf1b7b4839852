"""One file a task; found by its name."""
