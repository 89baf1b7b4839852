"""The compiled `torch.nn.Module`: parameters, state, losses, calls."""
