"""Choose strategies and tile sizes for a device: defaults, measured tables, search space."""
