"""Modules and weights of torch.nn as compiled models, and back."""
