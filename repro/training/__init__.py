"""Training: gradient flow of networks and kernel machines."""
