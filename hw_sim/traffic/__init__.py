"""Spikes between cores: who sends, who receives, over how many hops."""
