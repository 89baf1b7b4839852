"""Loop distribution, fusion groups, and the plan."""
