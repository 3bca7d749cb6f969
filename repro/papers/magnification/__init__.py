"""Baptista et al., Deep learning as Ricci flow (arXiv 2404.14265), and what followed from it."""
