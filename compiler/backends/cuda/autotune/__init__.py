"""Choose loop strategies and tile sizes for a device."""
