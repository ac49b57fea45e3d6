"""Lowering: one file a target."""
