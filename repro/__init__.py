"""Geometry of deep networks, measured: four papers replicated as notebooks that run."""
