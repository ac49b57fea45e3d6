"""Transforms: from one model specification to another."""
