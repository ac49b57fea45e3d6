"""What several kernels share: the neuron step, the bit layout, and how tensors lie in memory."""
