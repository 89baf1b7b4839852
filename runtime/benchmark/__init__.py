"""Times of a model and its alternatives: run in turns, held against the reference first."""
