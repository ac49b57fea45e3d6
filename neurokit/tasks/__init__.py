"""Tasks: preprocessing, postprocessing and metrics of a kind of work."""
