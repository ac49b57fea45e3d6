"""Attention over selected keys, and token mixing without softmax: one definition a method."""
