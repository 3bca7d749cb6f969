"""Geometric inductive biases of deep networks: arXiv 2410.12025."""
