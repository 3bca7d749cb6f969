"""Experiments: pure functions from the parameters of one grid cell to rows of plain numbers."""
