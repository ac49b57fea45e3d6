"""Chips: what a profile holds, how its file is read, and the profiles themselves (.toml)."""
