"""Planted faults: what an exporter could get wrong, tried on every network and form."""
