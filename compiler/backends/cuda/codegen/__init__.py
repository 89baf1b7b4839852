"""Generate Triton source from a plan and its strategies."""
