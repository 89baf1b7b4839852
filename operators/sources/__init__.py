"""Where specs come from: files, standard input, the zoo, modules."""
