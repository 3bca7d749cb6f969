"""Training: gradient flow, mini-batch training to the margin, and kernel machines."""
