"""Training: the loop, its settings, checkpoints, and the folder of a run."""
