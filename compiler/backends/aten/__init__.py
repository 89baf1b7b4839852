"""The plan through ATen calls that write where the plan says; any device, no compiler."""
