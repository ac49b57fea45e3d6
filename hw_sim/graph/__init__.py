"""The network as populations and projections, its spikes and its event counts."""
