"""Convert modules and weights of torch.nn to compiled models, and back."""
