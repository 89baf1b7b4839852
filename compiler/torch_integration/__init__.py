"""Integrate backends with autograd, `torch.library` and `torch.compile`."""
