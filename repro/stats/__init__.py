"""Estimates with their intervals, at one look or several, power laws, and linear models."""
