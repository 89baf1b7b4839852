"""Backend `cuda`: schedule, generate, tune and run a plan as Triton kernels."""
