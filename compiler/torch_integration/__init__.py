"""Backends inside of autograd, `torch.library` and `torch.compile`."""
