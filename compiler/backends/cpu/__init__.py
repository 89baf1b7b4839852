"""Backend cpu: dataflow -> one C file -> machine code of this machine, run on CPU tensors."""
