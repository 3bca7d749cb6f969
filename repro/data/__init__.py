"""Data sets: synthetic ones drawn from a seeded generator, and images pinned by their hash."""
