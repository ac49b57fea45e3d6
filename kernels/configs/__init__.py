"""Launch parameters measured on a GPU, one file a GPU name; benchmarks/tune_kernels.py writes them."""
