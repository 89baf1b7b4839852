"""A short visit to a GPU: what is tested, what is timed, how it is written down."""
