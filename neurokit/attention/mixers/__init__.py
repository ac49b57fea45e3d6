"""Token mixers without softmax: one file a method."""
