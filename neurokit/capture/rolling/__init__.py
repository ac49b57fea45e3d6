"""A neuron called once a step in a Python loop over time becomes one neuron over all steps again."""
