"""The spike-driven event simulator and its chips."""
