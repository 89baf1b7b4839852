"""Run plans: launch kernels, replay CUDA graphs, recover from failures."""
