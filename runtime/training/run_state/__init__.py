"""Persistent state of a training run: checkpoints, progress, and the run's folder."""
