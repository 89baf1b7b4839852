"""Loop distribution, fusion groups, and the plan made of them."""
