"""Arguments of one call, in the form that backends take."""
