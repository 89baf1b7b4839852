"""Models with arguments to benchmark, and the candidates that run them."""
