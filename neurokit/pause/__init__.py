"""Pause tokens: which tokens an answer hangs on, where pauses go, a token more in the model, what a pause costs."""
