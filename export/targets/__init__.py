"""The targets, each found by its file."""
