"""One page that puts accuracy, parity, latency, throughput, memory, size and energy of every target side by side."""
