"""The command line, data sets, training, benchmarks and diagrams of compiled models."""
