"""State of an elaboration: scopes, parameters, sizes, the growing graph."""
