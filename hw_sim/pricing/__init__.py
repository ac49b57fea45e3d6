"""Joules and seconds of a mapped network."""
