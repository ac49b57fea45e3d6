"""Placing populations on the cores of a chip, and the limits that this violates."""
