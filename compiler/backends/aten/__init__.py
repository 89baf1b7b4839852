"""ATen backend: execute a plan through ATen `out=` calls; any device, no compiler."""
