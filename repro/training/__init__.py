"""Training: gradient flow, mini-batch training to the margin, stacked ensembles, and kernel machines."""
