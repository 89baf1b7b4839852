"""Long randomized searches, run by `make fuzz`; the backend is a parameter."""
