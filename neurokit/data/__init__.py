"""Inputs: files, recordings, labelled sets and synthetic data."""
