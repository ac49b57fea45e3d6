"""What a classifier answers by: where it looks (Grad-CAM), how it tells classes apart, and which it confuses."""

from neurokit.explain.explanation import Example, Explanation, Pair, explain

__all__ = ["Example", "Explanation", "Pair", "explain"]
