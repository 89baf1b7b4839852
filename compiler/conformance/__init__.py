"""Whether a model computes what its graph means, on this machine: `rnnc verify`."""
