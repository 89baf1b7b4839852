"""Small data sets and trainings."""
