"""LiteRT (TensorFlow Lite): files that litert-torch converts in an environment of its own, run by ai-edge-litert."""
