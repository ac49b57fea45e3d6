"""Patterns: one file a method."""
