"""Normalize the arguments of one call to the form that backends take."""
