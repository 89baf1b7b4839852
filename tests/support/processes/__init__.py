"""Commands, blocked imports and a browser in separate processes."""
