"""Paccolat et al., Geometric compression of invariant manifolds in neural nets (arXiv 2007.11471)."""
