"""Match graphs that are torch.nn layers, and run them in cuDNN."""
