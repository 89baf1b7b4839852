"""The mid-level IR: a dataflow graph of typed values, forward and backward."""
