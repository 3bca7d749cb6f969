"""Data sets: synthetic ones drawn from a seeded generator."""
