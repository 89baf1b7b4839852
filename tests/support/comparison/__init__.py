"""Run models on random arguments, and compare backends, reference and oracles."""
