"""Running what was compiled: data, training, checkpoints, the command line."""
