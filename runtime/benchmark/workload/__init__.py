"""Models, their arguments, and the candidates that run them."""
