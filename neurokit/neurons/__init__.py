"""Neurons: equations, operators, cells and their parameters."""
