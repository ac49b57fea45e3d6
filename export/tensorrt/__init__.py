"""TensorRT: library, rewriting, plugin, engine and runner."""
