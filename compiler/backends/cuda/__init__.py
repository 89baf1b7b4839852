"""Plan -> Triton kernels, in three tiers for the phases that go step by step."""
