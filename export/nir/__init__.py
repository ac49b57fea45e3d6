"""The NIR graph: written, run and compared with other simulators."""
