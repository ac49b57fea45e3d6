"""Training of classifiers with Lightning: data, recipe, metrics, checkpoints; the module to start at is `api`."""
