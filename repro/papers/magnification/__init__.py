"""Zavatone-Veth et al., How does training shape the Riemannian geometry of representations? (arXiv 2301.11375)."""
