"""Geometry of networks; imports nothing else of this package, so it can be taken alone."""
